"""Archived projects give up their partition keys, so that Dagster's lists stay short.

Nothing else of them goes: scenes, versions, documents, assets and what was paid stay. A project
that is taken out of the archive gets its keys back from the sensors, as a new one does; that of its
library with its next import.

A key is never taken away while a run may hold it: the run would fail at its end. A project that is
being worked on is therefore left for the next time.

Belongs here: in which steps the keys go. Does not belong here: which may
(`pipeline.upkeep.archive_plan`), and where they are (whoever calls brings them as `PartitionKeys`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from scene_pipeline.database.archived import ArchivedProject, archived_projects, hold_archived
from scene_pipeline.database.imports import hold_back_requests
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.upkeep.archive_plan import (
    PartitionKeys,
    busy_projects,
    plan_archive,
    projects_of,
    projects_of_libraries,
)
from scene_pipeline.scenes.identity import library_partition_key, project_partition_key

MAX_KEYS = 5000
"""Keys that one call takes away at most; the next call goes on."""
_KEYS_PER_STEP = 100
"""Bounds how long taking a project out of the archive waits."""
_PROJECTS_PER_QUESTION = 1000


@dataclass
class ArchiveReport:
    """What became of the keys."""

    projects: int = 0
    """Projects that have no key any more."""
    deleted_keys: int = 0
    waiting: dict[str, str] = field(default_factory=dict)
    """Why a project is left for the next time, by its key."""
    is_complete: bool = True
    """False where more is left for the next call."""


async def give_back_keys(
    conn: Connection, keys: PartitionKeys, *, limit: int = MAX_KEYS
) -> ArchiveReport:
    """Take the partition keys of archived projects away, as far as nobody holds them.

    Args:
        conn: Outside of a transaction.
        keys: The instance's.
        limit: Most keys to take away.
    """
    scene_keys = keys.scene_keys()
    owners = projects_of(scene_keys) | projects_of(keys.project_keys())
    archived = await _archived(conn, owners | projects_of_libraries(keys.library_keys()))
    plan = plan_archive(archived, scene_keys, keys.held())
    report = ArchiveReport(waiting=dict(plan.waiting))
    for project, due in plan.scene_keys.items():
        left = limit - report.deleted_keys
        if left <= 0:
            report.is_complete = False
            break
        await _give_back(_Step(conn, keys, scene_keys, report), project, due[:left])
        if len(due) > left:
            report.is_complete = False
        elif project not in report.waiting:
            await _give_back_last(_Step(conn, keys, scene_keys, report), project)
    return report


@dataclass(frozen=True, slots=True)
class _Step:
    conn: Connection
    keys: PartitionKeys
    scene_keys: Sequence[str]
    report: ArchiveReport


async def _give_back(step: _Step, project: str, due: Sequence[str]) -> None:
    """Take keys away a few at a time: it stays archived meanwhile, and runs are asked about."""
    for start in range(0, len(due), _KEYS_PER_STEP):
        async with step.conn.transaction():
            if not await _may_go(step, project):
                return
            chunk = due[start : start + _KEYS_PER_STEP]
            step.keys.delete_scene_keys(chunk)
            step.report.deleted_keys += len(chunk)


async def _give_back_last(step: _Step, project: str) -> None:
    """Take a project's own key away, and that of its library: those of its scenes are gone."""
    async with step.conn.transaction():
        await hold_back_requests(step.conn)
        if not await _may_go(step, project):
            return
        [now] = await archived_projects(step.conn, [project])
        if now.has_open_import:
            step.report.waiting[project] = "an import was asked for"
            return
        step.keys.delete_library_key(library_partition_key(project))
        step.keys.delete_project_key(project_partition_key(project))
        step.report.projects += 1


async def _may_go(step: _Step, project: str) -> bool:
    """Whether keys may still go; the project stays archived until the transaction ends."""
    if not await hold_archived(step.conn, project):
        step.report.waiting[project] = "it was taken out of the archive"
        return False
    held = step.keys.held()
    busy = None if held.is_everything else busy_projects(step.scene_keys, held)
    if busy is None or project in busy:
        step.report.waiting[project] = "a run has begun"
        return False
    return True


async def _archived(conn: Connection, project_keys: Collection[str]) -> list[ArchivedProject]:
    wanted = sorted(project_keys)
    found: list[ArchivedProject] = []
    for start in range(0, len(wanted), _PROJECTS_PER_QUESTION):
        async with conn.transaction():
            page = wanted[start : start + _PROJECTS_PER_QUESTION]
            found += await archived_projects(conn, page)
    return found
