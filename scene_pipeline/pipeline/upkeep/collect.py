"""Garbage collection: leftovers of uploads and objects that nothing refers to.

Before it, retention gives up old versions (`pipeline.upkeep.retain`); their objects are garbage
once they have been needed by nothing for the period of grace.

Kinds of garbage. Leftovers have a row: uploads that never ended, pictures nobody recorded, contact
sheets and reports beyond the newest few. Late arrivals have a row too: bytes that were put by an
upload that slept through its own collection. Unknown objects have no row; another database may own
them, so they are only reported unless asked for. Uploads from outside that no import waits for are
counted (the sweep of imports removes them). Where a store keeps parts of uploads that died, they go
too.

Two phases. An object is marked (compare-and-set, committed), then its bytes are removed, then its
row says so. A crash between the two is finished by the next call. Keys are never used again.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import get_args

from scene_pipeline.database import collection
from scene_pipeline.database.collection import Amount, Leftover, RenewedTable
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect_report import CollectReport
from scene_pipeline.pipeline.upkeep.collect_store import (
    abort_unfinished,
    count_uploads,
    look_through_store,
)
from scene_pipeline.pipeline.upkeep.retain import retain

FILES_KEPT = 5
"""Contact sheets that each project keeps, and files of each kind of report, newest first."""
MAX_OBJECTS = 10_000
"""Objects that one call removes at most; the next call goes on."""
_BATCH = 200


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
    report = CollectReport(is_applied=apply, retained=retained, is_complete=retained.is_complete)
    await collect_registered(services, report, grace, limit)
    await look_through_store(services, report, grace, limit, delete_unknown=delete_unknown)
    await count_uploads(services, report)
    if apply:
        await remove_marked(services, report, limit)
        await abort_unfinished(services, report, grace)
    return report


async def collect_registered(
    services: Services, report: CollectReport, grace: timedelta, limit: int
) -> None:
    """Phase one for objects that have a row: count them, and mark them where that is asked for."""
    async with services.pool.connection() as conn:
        sheets = await collection.count_outdated(conn, "storyboards", FILES_KEPT)
        reports = await collection.count_outdated(conn, "report_files", FILES_KEPT)
        report.old_sheets, report.old_reports = sheets.objects, reports.objects
        due, report.unfinished = await collection.count_leftovers(conn, grace)
    if not report.is_applied:
        report.leftovers = due
        return
    for table in get_args(RenewedTable):
        async with services.pool.connection() as conn:
            released = await collection.release_outdated(conn, table, FILES_KEPT, limit)
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
                report.note(error)
            else:
                gone.append(leftover)

    await asyncio.gather(*(remove(leftover) for leftover in batch))
    return gone
