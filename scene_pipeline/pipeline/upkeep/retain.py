"""Retention: old versions that nothing needs give up their bytes; their rows stay for good.

Belongs here: going through the projects, bounds, the report. Does not belong here: what counts as
needed (`database.retention`), removing objects (`pipeline.upkeep.collect`).

What is kept in any case: current versions, all versions of locked scenes, versions whose object any
document names, those an unfinished generation refers to, the newest SCENE_PIPELINE_KEEP_VERSIONS of
each scene, and everything younger than SCENE_PIPELINE_KEEP_DAYS. Candidates that were never chosen
are versions like any other. What was paid stays on the ledger.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import UUID

from scene_pipeline.database import retention
from scene_pipeline.database.collection import Amount
from scene_pipeline.database.retention import OldVersion, RetentionRule
from scene_pipeline.pipeline.services import Services
from scene_pipeline.settings import Settings

MAX_VERSIONS = 10_000
"""Versions that one call gives up at most; the next call goes on."""
_PROJECTS_PER_PAGE = 100
_VERSIONS_PER_TRANSACTION = 200
"""Bounds how long an editor of the project waits."""


@dataclass
class RetainReport:
    """What retention found and, where it was applied, gave up."""

    is_applied: bool
    versions: Amount = field(default_factory=Amount)
    """Versions, and their bytes as they were recorded."""
    is_complete: bool = True
    """False where more is left for the next call."""


def retention_rule(settings: Settings) -> RetentionRule:
    """What is kept of each scene, as the settings say."""
    return RetentionRule(settings.keep_versions, settings.keep_days)


async def retain(
    services: Services, *, apply: bool = False, limit: int = MAX_VERSIONS
) -> RetainReport:
    """Find versions that need not be kept and, if asked, give them up.

    Their objects are removed by a later collection, once its period of grace is over.

    Args:
        services: Only the database is used.
        apply: Give them up; otherwise nothing is changed.
        limit: Most versions to give up.
    """
    report = RetainReport(is_applied=apply)
    rule = retention_rule(services.settings)
    named_elsewhere: set[str] | None = None
    async for page in _pages(services):
        async with services.pool.connection() as conn:
            found = await retention.old_versions(conn, page, rule)
        if found and named_elsewhere is None:
            named_elsewhere = await _named_elsewhere(services)
        due = [version for version in found if version.storage_path not in (named_elsewhere or ())]
        for project_id, versions in groupby(due, lambda version: version.project_id):
            chosen = list(versions)
            if len(chosen) > (left := limit - report.versions.objects):
                chosen, report.is_complete = chosen[:left], False
            if apply:
                report.versions += await _give_up(services, rule, project_id, chosen)
            else:
                report.versions += Amount(len(chosen), sum(one.file_size for one in chosen))
            if not report.is_complete:
                return report
    return report


async def _give_up(
    services: Services, rule: RetentionRule, project_id: UUID, versions: Sequence[OldVersion]
) -> Amount:
    total = Amount()
    for start in range(0, len(versions), _VERSIONS_PER_TRANSACTION):
        chunk = versions[start : start + _VERSIONS_PER_TRANSACTION]
        async with services.pool.connection() as conn:
            total += await retention.give_up(conn, project_id, chunk, rule)
    return total


async def _named_elsewhere(services: Services) -> set[str]:
    """Keys that a document of another project names: read once, when something is due at all."""
    named: set[str] = set()
    async for page in _pages(services):
        async with services.pool.connection() as conn:
            named |= await retention.keys_named_elsewhere(conn, page)
    return named


async def _pages(services: Services) -> AsyncIterator[list[UUID]]:
    after: UUID | None = None
    while True:
        async with services.pool.connection() as conn:
            page = await retention.projects_page(conn, after, _PROJECTS_PER_PAGE)
        if not page:
            return
        yield page
        after = page[-1]
