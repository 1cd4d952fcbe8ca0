"""What lies in the store, compared with what the rows know of it.

Belongs here: late arrivals, unknown objects, uploads from outside, parts of uploads that died. Does
not belong here: garbage that has a row (`pipeline.upkeep.collect`).
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from scene_pipeline.database import collection
from scene_pipeline.database.collection import Amount
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect_report import MAX_EXAMPLES, CollectReport
from scene_pipeline.scenes.identity import (
    READABLE_PREFIXES,
    UPLOADS_PREFIX,
    is_storage_key,
    storage_key_time,
)
from scene_pipeline.storage.base import KeepsUnfinishedUploads, StoredObject

_LISTED = 500
_PREFIXES = tuple(f"{prefix}/" for prefix in READABLE_PREFIXES)
"""Where everything lies that the register of stored objects knows."""
_UNSUPPORTED = "storage_unsupported"


async def look_through_store(
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
        async for page in _pages(services, _PREFIXES):
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
        report.note(error)


async def count_uploads(services: Services, report: CollectReport) -> None:
    """Count what came in from outside and nobody waits for."""
    try:
        async for page in _pages(services, (f"{UPLOADS_PREFIX}/",)):
            async with services.pool.connection() as conn:
                awaited = await collection.awaited_uploads(conn, [found.key for found in page])
            for found in page:
                if found.key not in awaited:
                    report.uploads += Amount(1, found.size_bytes)
    except StorageError as error:
        report.note(error)


async def abort_unfinished(services: Services, report: CollectReport, grace: timedelta) -> None:
    """Give up uploads that died in the store half-way, where it keeps their parts."""
    store = services.store
    if not isinstance(store, KeepsUnfinishedUploads):
        return
    try:
        report.unfinished_uploads = await services.call(
            store.abort_unfinished_uploads, older_than=grace
        )
    except StorageError as error:
        if error.error_code != _UNSUPPORTED:
            report.note(error)


async def _pages(services: Services, prefixes: Sequence[str]) -> AsyncIterator[list[StoredObject]]:
    for prefix in prefixes:
        listing = await services.call(services.store.list, prefix)
        while page := await services.call(_next_page, listing):
            yield page


def _next_page(listing: Iterator[StoredObject]) -> list[StoredObject]:
    return list(islice(listing, _LISTED))


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
