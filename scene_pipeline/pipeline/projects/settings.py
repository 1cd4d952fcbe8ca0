"""What people set of a project: what is followed, what is kept, who may stand in, the archive.

Belongs here: what closing a project means. Does not belong here: its document
(`pipeline.projects.importing`), its partition keys (`pipeline.upkeep.archive`).

Nothing new begins in an archived project: no sensor looks at it, a run refuses, and what was
planned but not sent is given up. What was sent is paid for, and finished all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scene_pipeline.database import intentions, requests
from scene_pipeline.database.events import append_event
from scene_pipeline.database.project_settings import (
    OpenGeneration,
    ProjectSettings,
    hold_project,
    open_generations,
    read_project_settings,
    set_archived,
    set_auto_refresh,
    set_fallbacks,
    set_kept,
)
from scene_pipeline.database.rows import Connection, ProjectRow
from scene_pipeline.errors import NotFoundError, UsageError, quoted
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.projects.fallbacks import Fallback, checked_fallbacks
from scene_pipeline.scenes.planning import PROJECT_ARCHIVED


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """A project's settings as they are now, and what changing them did."""

    settings: ProjectSettings
    changed: tuple[str, ...]
    """Which settings were not so: "auto_refresh", "archived", "kept_versions", "fallbacks"."""
    given_up: tuple[str, ...] = ()
    """Scenes whose planned generation was given up; nothing had been sent for them."""
    finishing: tuple[str, ...] = ()
    """Scenes whose picture was asked for before; it is still brought home."""


@dataclass(frozen=True, slots=True)
class KeptVersions:
    """What retention is to keep of each scene of a project; what is None stays as it is.

    Attributes:
        versions: The newest ones, at least 1.
        days: What is younger than this.
        is_default: What is not given becomes the installation's again.
    """

    versions: int | None = None
    days: float | None = None
    is_default: bool = False


async def show_project_settings(conn: Connection, project_key: str) -> ProjectSettings:
    """The settings of a project, archived or not.

    Raises:
        NotFoundError: There is no such project.
    """
    settings = await read_project_settings(conn, project_key)
    if settings is None:
        message = f"There is no project {project_key!r}."
        raise NotFoundError(message, code="project_unknown")
    return settings


async def change_project_settings(
    conn: Connection,
    project_key: str,
    *,
    auto_refresh: bool | None = None,
    is_archived: bool | None = None,
    kept: KeptVersions | None = None,
    fallbacks: Sequence[Fallback] | None = None,
) -> ProjectChange:
    """Change what is given, in one transaction; what is None stays as it is.

    Switching `auto_refresh` on, and opening an archived project, make its scenes due for the sensor
    of changes.

    Args:
        conn: Outside of a transaction.
        project_key: The project.
        auto_refresh: Whether edited scenes get a new frame by themselves, after a quiet period.
        is_archived: Whether the project is closed.
        kept: What retention keeps of each scene.
        fallbacks: Who else may make its frames, in order, in the place of the list that there is;
            empty for nobody. What is planned already stays as it is.

    Raises:
        NotFoundError: There is no such project.
        UsageError: It is a drill's (code project_scratch), it cannot be archived while it is
            unknown whether a request was accepted (code generation_open), or the fallbacks cannot
            be used (code fallback_invalid); nothing was changed.
    """
    listed = None if fallbacks is None else checked_fallbacks(fallbacks)
    async with conn.transaction():
        before = await show_project_settings(conn, project_key)
        if before.is_scratch:
            raise UsageError(
                f"Project {project_key!r} is a drill's own.",
                code="project_scratch",
                next_action="Remove what drills have left with `scene-pipeline drill --clean`.",
            )
        await hold_project(conn, before.project_id)
        changed = []
        given_up: tuple[str, ...] = ()
        finishing: tuple[str, ...] = ()
        if is_archived is not None and await set_archived(
            conn, before.project_id, is_archived=is_archived
        ):
            changed.append("archived")
            if is_archived:
                given_up, finishing = await _wind_up(conn, before)
        if auto_refresh is not None and await set_auto_refresh(
            conn, before.project_id, is_on=auto_refresh
        ):
            changed.append("auto_refresh")
        if kept is not None and await _keep(conn, before, kept):
            changed.append("kept_versions")
        if listed is not None and await set_fallbacks(
            conn, before.project_id, [{"provider": f.provider, "model": f.model} for f in listed]
        ):
            changed.append("fallbacks")
        after = await show_project_settings(conn, project_key)
        if changed:
            await append_event(
                conn,
                "project_settings_changed",
                project_id=before.project_id,
                data={
                    "changed": changed,
                    "auto_refresh": after.auto_refresh,
                    "archived": after.archived_at is not None,
                    "keep_versions": after.keep_versions,
                    "keep_days": after.keep_days,
                    "fallbacks": after.fallbacks,
                },
            )
    return ProjectChange(after, tuple(changed), given_up, finishing)


async def _keep(conn: Connection, before: ProjectSettings, kept: KeptVersions) -> bool:
    versions = None if kept.is_default else before.keep_versions
    days = None if kept.is_default else before.keep_days
    return await set_kept(
        conn,
        before.project_id,
        keep_versions=versions if kept.versions is None else kept.versions,
        keep_days=days if kept.days is None else kept.days,
    )


async def _wind_up(
    conn: Connection, project: ProjectSettings
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give up what was not sent; what was is finished by itself."""
    given_up = []
    for generation in await open_generations(conn, project.project_id):
        if generation.state == "planned" and await intentions.abandon_unpaid(
            conn, generation.id, "The project was archived before anything was sent."
        ):
            await requests.finish_requests(conn, generation.id, "failed")
            given_up.append(generation.scene_id)
    left = await open_generations(conn, project.project_id)
    for generation in left:
        if generation.state in ("planned", "submitting"):
            raise _still_open(project.key, generation)
    return tuple(given_up), tuple(generation.scene_id for generation in left)


def _still_open(project_key: str, generation: OpenGeneration) -> UsageError:
    return UsageError(
        f"Project {project_key!r} cannot be archived: a request for scene {generation.scene_id} is"
        " being sent, or its answer was lost.",
        code="generation_open",
        next_action="Wait until it is settled (`scene-pipeline status`), or decide with"
        " `scene-pipeline resolve`.",
    )


def refuse_archived(project: ProjectRow) -> None:
    """Let nothing new begin in a closed project.

    Raises:
        UsageError: It is archived (code project_archived).
    """
    if project.is_archived:
        failure = archived_failure(project.key)
        raise UsageError(failure.message, code=failure.code, next_action=failure.next_action)


def archived_failure(project_key: str) -> Failure:
    """Why nothing is made for a closed project, in the words people are shown."""
    return Failure(
        code=PROJECT_ARCHIVED,
        message=f"Project {project_key!r} is archived: nothing new is made for it.",
        next_action="Open it again with"
        f" `scene-pipeline project {quoted(project_key)} --unarchive`.",
    )
