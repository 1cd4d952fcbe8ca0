"""Finds where document, rows and objects disagree, and repairs what can be repaired safely.

Belongs here: going through the projects and the library, the report. Does not belong here: the
single kinds of drift (`pipeline.upkeep.drift_documents`, `drift_objects`, `drift_library`) and
pictures that are known to be at the provider (`pipeline.upkeep.heal`).

Nothing is changed unless `apply` is given. A repair is guarded by what was seen: what somebody
changed in between is left alone. What an editor put into a document is told and never overwritten.
"""

import asyncio
from dataclasses import replace

from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.projects import get_project, list_projects
from scene_pipeline.database.rows import ProjectRow
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.drift import LibraryCheck, ProjectCheck, ReconcileReport
from scene_pipeline.pipeline.upkeep.drift_documents import check_document, check_unpublished
from scene_pipeline.pipeline.upkeep.drift_library import check_library
from scene_pipeline.pipeline.upkeep.drift_objects import check_object_rows, check_objects

MAX_DRIFTS = 10_000
"""Findings in one report; beyond them the rest is left for the next time."""


async def reconcile(
    services: Services, project_key: str | None = None, *, apply: bool
) -> ReconcileReport:
    """Compare documents, rows and objects, and repair them where asked to.

    Args:
        services: Of this process.
        project_key: Only this project; else all that are not archived, and the library.
        apply: Whether to repair; otherwise it is only told what would be.

    Returns:
        What was found, and done. Doing it again finds only what nobody but a person can settle.

    Raises:
        NotFoundError: There is no such project.
    """
    async with services.pool.connection() as conn:
        projects = (
            await list_projects(conn)
            if project_key is None
            else [await get_project(conn, project_key)]
        )
    report = ReconcileReport(is_applied=apply)
    async with GenerationLocks.connect(services.database_url) as locks:
        for project in projects:
            checked = await _check(services, locks, project, report, apply=apply)
            report = replace(
                report,
                drifts=(*report.drifts, *checked.drifts[: MAX_DRIFTS - len(report.drifts)]),
                versions_checked=report.versions_checked + checked.versions_checked,
                objects_checked=report.objects_checked + checked.objects_checked,
                store_failure=report.store_failure or checked.store_failure,
            )
            if len(report.drifts) >= MAX_DRIFTS:
                return replace(report, is_complete=False)
    if project_key is not None:
        return replace(report, is_complete=report.store_failure is None)
    return await _check_library(services, report, apply=apply)


async def _check_library(
    services: Services, report: ReconcileReport, *, apply: bool
) -> ReconcileReport:
    """Look at what is stored last: what projects need is counted and brought back by then."""
    check = LibraryCheck(
        services,
        apply,
        transfers=asyncio.Semaphore(services.settings.upload_concurrency),
        store_failure=report.store_failure,
    )
    is_whole = await check_library(check, MAX_DRIFTS - len(report.drifts))
    return replace(
        report,
        library_drifts=tuple(check.drifts),
        objects_checked=report.objects_checked + check.objects_checked,
        store_failure=check.store_failure,
        is_complete=is_whole and check.store_failure is None,
    )


async def _check(
    services: Services,
    locks: GenerationLocks,
    project: ProjectRow,
    report: ReconcileReport,
    *,
    apply: bool,
) -> ProjectCheck:
    check = ProjectCheck(
        services,
        locks,
        project,
        apply,
        transfers=asyncio.Semaphore(services.settings.upload_concurrency),
        decodes=asyncio.Semaphore(services.settings.decode_workers),
        store_failure=report.store_failure,
    )
    # In this order: what is recorded gets published, then the document is looked at as a whole;
    # rows first say that an object is kept, then the object itself is looked for.
    await check_unpublished(check)
    await check_document(check)
    await check_object_rows(check)
    await check_objects(check)
    return check
