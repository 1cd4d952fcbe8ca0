"""Retention: old versions that nothing needs give up their bytes; their rows stay for good.

Belongs here: going through the projects, bounds, the report. Does not belong here: what counts as
needed (`database.retention_verdicts`), removing objects (`pipeline.upkeep.collect`).

What is kept in any case: current versions, all versions of locked scenes, the newest N of each
scene, everything younger than D days, and what is referred to: by a document, an unfinished
generation, a picture that scenes are made after, or something else in the library. N and D are the
project's own, else SCENE_PIPELINE_KEEP_VERSIONS and SCENE_PIPELINE_KEEP_DAYS. Candidates that were
never chosen are versions like any other. What was paid stays on the ledger.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import UUID

from scene_pipeline.database import retention
from scene_pipeline.database.collection import Amount
from scene_pipeline.database.giving_up import give_up
from scene_pipeline.database.retention import (
    GivenUp,
    KeepReason,
    OldVersion,
    ProjectRule,
)
from scene_pipeline.database.retention_verdicts import RetentionRule
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import frame_asset_id
from scene_pipeline.settings import Settings

MAX_VERSIONS = 10_000
"""Versions that one call gives up at most; the next call goes on."""
MAX_PROJECTS_TOLD = 1000
"""Projects in one report; the totals count all of them."""
_PROJECTS_PER_PAGE = 100
_VERSIONS_PER_TRANSACTION = 200
"""Bounds how long an editor of the project waits."""


@dataclass(frozen=True, slots=True)
class ProjectRetention:
    """What retention found in one project."""

    rule: ProjectRule
    kept: dict[KeepReason, int]
    """Versions that are kept, by the first reason that is true of each."""
    given_up: GivenUp


@dataclass
class RetainReport:
    """What retention found and, where it was applied, gave up."""

    is_applied: bool
    total: GivenUp = field(default_factory=GivenUp)
    """Of all projects."""
    projects: list[ProjectRetention] = field(default_factory=list)
    """Those that have any stored version, in the order of their ids."""
    is_complete: bool = True
    """False where more is left for the next call."""

    @property
    def versions(self) -> Amount:
        """Versions that were given up, or would be, and their bytes as they were recorded."""
        return self.total.versions


def retention_rule(settings: Settings) -> RetentionRule:
    """What is kept of each scene where its project says nothing else."""
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
    sweep = _Sweep(services, retention_rule(services.settings), apply=apply, left=limit)
    async for page in _pages(services):
        async with services.pool.connection() as conn:
            rules = await retention.project_rules(conn, page, sweep.rule)
            kept = await retention.kept_versions(conn, page, sweep.rule)
            found = await retention.old_versions(conn, page, sweep.rule)
        due = {
            project_id: list(versions)
            for project_id, versions in groupby(found, lambda version: version.project_id)
        }
        for rule in rules:
            project = await sweep.project(
                rule, kept.get(rule.project_id, {}), due.get(rule.project_id, [])
            )
            report.total += project.given_up
            has_any = project.kept or project.given_up.versions.objects
            if has_any and len(report.projects) < MAX_PROJECTS_TOLD:
                report.projects.append(project)
            if sweep.is_cut_off:
                report.is_complete = False
                return report
    return report


@dataclass
class _Sweep:
    """One call's way through the projects."""

    services: Services
    rule: RetentionRule
    apply: bool
    left: int
    """Versions that may still be given up."""
    is_cut_off: bool = False
    _named_elsewhere: set[str] | None = None
    _seen: Counter[str] = field(default_factory=Counter)
    """How many versions a dry run would take from each object."""

    async def project(
        self, rule: ProjectRule, kept: dict[KeepReason, int], found: Sequence[OldVersion]
    ) -> ProjectRetention:
        """Look through one project's versions that its own document does not need."""
        named = await self._elsewhere() if found else frozenset[str]()
        due = [
            version
            for version in found
            if named.isdisjoint(
                (version.storage_path, frame_asset_id(version.id), *version.derived_keys)
            )
        ]
        if len(due) < len(found):
            kept = kept | {"referenced": kept.get("referenced", 0) + len(found) - len(due)}
        if len(due) > self.left:
            due, self.is_cut_off = due[: self.left], True
        self.left -= len(due)
        given_up = await self._give_up(rule.project_id, due) if self.apply else self._would(due)
        return ProjectRetention(rule, kept, given_up)

    def _would(self, versions: Sequence[OldVersion]) -> GivenUp:
        total = GivenUp()
        for version in versions:
            self._seen[version.storage_path] += 1
            is_last = self._seen[version.storage_path] >= version.refcount
            total += GivenUp(
                Amount(1, version.file_size),
                version.object_bytes if is_last else 0,
                version.cost_micros if version.is_metered else 0,
                0 if version.is_metered else version.cost_micros,
            )
        return total

    async def _give_up(self, project_id: UUID, versions: Sequence[OldVersion]) -> GivenUp:
        total = GivenUp()
        for start in range(0, len(versions), _VERSIONS_PER_TRANSACTION):
            chunk = versions[start : start + _VERSIONS_PER_TRANSACTION]
            async with self.services.pool.connection() as conn:
                total += await give_up(conn, project_id, chunk, self.rule)
        return total

    async def _elsewhere(self) -> set[str] | frozenset[str]:
        """What other projects' documents name: read once, when something is due at all.

        A dry run tells this much; `give_up` asks again.
        """
        if self._named_elsewhere is None:
            self._named_elsewhere = set()
            async for page in _pages(self.services):
                async with self.services.pool.connection() as conn:
                    self._named_elsewhere |= await retention.named_elsewhere(conn, page)
        return self._named_elsewhere


async def _pages(services: Services) -> AsyncIterator[list[UUID]]:
    after: UUID | None = None
    while True:
        async with services.pool.connection() as conn:
            page = await retention.projects_page(conn, after, _PROJECTS_PER_PAGE)
        if not page:
            return
        yield page
        after = page[-1]
