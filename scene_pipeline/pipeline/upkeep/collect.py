"""Garbage collection: leftovers of uploads and objects that nothing refers to.

Before it, retention gives up old versions (`pipeline.upkeep.retain`); their objects are garbage
once they have been needed by nothing for the period of grace.

Three kinds of garbage. Leftovers have a row: uploads that never ended, pictures nobody recorded,
contact sheets beyond the newest few. Late arrivals have a row too: bytes that were put by an upload
that slept through its own collection. Unknown objects have no row; another database may own them,
so they are only reported unless asked for.

Two phases. An object is marked (compare-and-set, committed), then its bytes are removed, then its
row says so. A crash between the two is finished by the next call. Keys are never used again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from scene_pipeline.database import collection
from scene_pipeline.database.collection import Amount, Leftover
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.retain import retain
from scene_pipeline.scenes.identity import PROJECTS_PREFIX, is_storage_key, storage_key_time
from scene_pipeline.storage.base import StoredObject

SHEETS_KEPT = 5
"""Contact sheets that each project keeps, newest first."""
MAX_OBJECTS = 10_000
"""Objects that one call removes at most; the next call goes on."""
MAX_EXAMPLES = 20
_BATCH = 200
_LISTED = 500


@dataclass
class CollectReport:
    """What a collection found and, where it was applied, did."""

    is_applied: bool
    leftovers: Amount = field(default_factory=Amount)
    """Objects with a row that nothing refers to; marked by this call where it was applied."""
    unfinished: Amount = field(default_factory=Amount)
    """Objects that an earlier call marked and did not get to remove."""
    late: Amount = field(default_factory=Amount)
    """Objects that arrived after they had been removed."""
    old_versions: Amount = field(default_factory=Amount)
    """Versions that retention gave up, or would; their objects are collected after the grace."""
    old_sheets: int = 0
    """Contact sheets beyond the newest of their project."""
    unknown: Amount = field(default_factory=Amount)
    """Objects older than the grace period that no row knows."""
    undated: Amount = field(default_factory=Amount)
    """Objects that no row knows and whose key does not say when they were made: never removed."""
    deleted: Amount = field(default_factory=Amount)
    """Objects whose bytes were removed by this call."""
    unknown_keys: list[str] = field(default_factory=list)
    """The first of the unknown and undated objects."""
    failures: list[str] = field(default_factory=list)
    """What the store refused, in one sentence each; those objects stay marked."""
    is_complete: bool = True
    """False where more is left for the next call."""


async def collect(
    services: Services,
    *,
    apply: bool = False,
    delete_unknown: bool = False,
    grace: timedelta | None = None,
    limit: int = MAX_OBJECTS,
) -> CollectReport:
    """Find old versions and garbage and, if asked, give up the former and remove the latter.

    Args:
        services: Only the database and the store are used.
        apply: Remove it; otherwise nothing is changed.
        delete_unknown: Also remove objects that no row knows; right only where no other database
            uses the same store and prefix.
        grace: How old garbage must be; SCENE_PIPELINE_COLLECT_GRACE_HOURS when left out.
        limit: Most objects to mark, and to remove.
    """
    if grace is None:
        grace = timedelta(hours=services.settings.collect_grace_hours)
    retained = await retain(services, apply=apply, limit=limit)
    report = CollectReport(
        is_applied=apply, old_versions=retained.versions, is_complete=retained.is_complete
    )
    await collect_registered(services, report, grace, limit)
    await _look_through_store(services, report, grace, limit, delete_unknown=delete_unknown)
    if apply:
        await remove_marked(services, report, limit)
    return report


async def collect_registered(
    services: Services, report: CollectReport, grace: timedelta, limit: int
) -> None:
    """Phase one for objects that have a row: count them, and mark them where that is asked for."""
    async with services.pool.connection() as conn:
        report.old_sheets = (await collection.count_old_sheets(conn, SHEETS_KEPT)).objects
        due, report.unfinished = await collection.count_leftovers(conn, grace)
    if not report.is_applied:
        report.leftovers = due
        return
    async with services.pool.connection() as conn:
        released = await collection.release_old_sheets(conn, SHEETS_KEPT, limit)
    report.is_complete = report.is_complete and released < limit
    while (left := limit - report.leftovers.objects) > 0:
        async with services.pool.connection() as conn:
            marked = await collection.mark_leftovers(conn, grace, min(_BATCH, left))
        if not marked.objects:
            return
        report.leftovers += marked
    report.is_complete = False


async def remove_marked(services: Services, report: CollectReport, limit: int) -> None:
    """Phase two: remove the bytes of everything that is marked, and say so in the rows."""
    after_key, removed = "", 0
    while removed < limit:
        async with services.pool.connection() as conn:
            batch = await collection.marked_leftovers(conn, after_key, min(_BATCH, limit - removed))
        if not batch:
            return
        after_key = batch[-1].key
        gone = await _remove(services, report, batch)
        async with services.pool.connection() as conn:
            await collection.mark_deleted(conn, [leftover.key for leftover in gone])
        report.deleted += Amount(len(gone), sum(leftover.size_bytes for leftover in gone))
        removed += len(gone)
        if not gone:  # the store is down: no use in asking a thousand times
            report.is_complete = False
            return
    report.is_complete = False


async def _remove(
    services: Services, report: CollectReport, batch: Sequence[Leftover]
) -> list[Leftover]:
    slots = asyncio.Semaphore(services.settings.upload_concurrency)
    gone: list[Leftover] = []

    async def remove(leftover: Leftover) -> None:
        async with slots:
            try:
                await services.call(services.store.delete, leftover.key)
            except StorageError as error:
                _note(report, error)
            else:
                gone.append(leftover)

    await asyncio.gather(*(remove(leftover) for leftover in batch))
    return gone


def _note(report: CollectReport, error: StorageError) -> None:
    report.is_complete = False
    if len(report.failures) < MAX_EXAMPLES:
        report.failures.append(f"[{error.error_code}] {error.message}")


async def _look_through_store(
    services: Services,
    report: CollectReport,
    grace: timedelta,
    limit: int,
    *,
    delete_unknown: bool,
) -> None:
    """Compare what the store holds with what the rows know, page by page."""
    oldest = datetime.now(UTC) - grace
    try:
        async for page in _pages(services):
            async with services.pool.connection() as conn:
                states = await collection.registered_states(conn, [found.key for found in page])
            for found in page:
                state = states.get(found.key)
                if state == "deleted":
                    await _take_late(services, report, found)
                elif state is None:
                    is_wanted = delete_unknown and report.unknown.objects < limit
                    await _take_unknown(services, report, found, oldest, is_wanted=is_wanted)
    except StorageError as error:
        _note(report, error)


async def _pages(services: Services) -> AsyncIterator[list[StoredObject]]:
    listing = await services.call(services.store.list, f"{PROJECTS_PREFIX}/")
    while page := await services.call(lambda: list(islice(listing, _LISTED))):
        yield page


async def _take_late(services: Services, report: CollectReport, found: StoredObject) -> None:
    report.late += Amount(1, found.size_bytes)
    if report.is_applied:
        async with services.pool.connection() as conn:
            await collection.return_to_marked(conn, found.key)


async def _take_unknown(
    services: Services,
    report: CollectReport,
    found: StoredObject,
    oldest: datetime,
    *,
    is_wanted: bool,
) -> None:
    made_at = storage_key_time(found.key)
    if made_at is not None and made_at > oldest:
        return
    if len(report.unknown_keys) < MAX_EXAMPLES:
        report.unknown_keys.append(found.key)
    if made_at is None or not is_storage_key(found.key):
        report.undated += Amount(1, found.size_bytes)
        return
    report.unknown += Amount(1, found.size_bytes)
    if report.is_applied and is_wanted:
        async with services.pool.connection() as conn:
            await collection.adopt_for_deletion(conn, found.key, found.size_bytes)
