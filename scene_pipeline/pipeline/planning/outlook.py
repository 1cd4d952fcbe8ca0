"""What is ahead of a project's scenes: what happens by itself, what on request, and the price.

Belongs here: putting together what `plan` and `status` show. Does not belong here: deciding
(`scenes.planning`), launching (the sensors), showing.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from scene_pipeline.database.rows import Connection, SceneState
from scene_pipeline.database.waiting import (
    OpenLaunch,
    WaitingRequest,
    is_refreshed_by_itself,
    launches_of_scenes,
    waiting_requests,
)
from scene_pipeline.pipeline.planning.preview import RunIntent, RunPreview, prepare_run
from scene_pipeline.pipeline.planning.standing import causes_of
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.pipeline.references.foreign import open_eyes, refresh_foreign
from scene_pipeline.providers.prices import PriceTable
from scene_pipeline.scenes.planning import readable_causes
from scene_pipeline.scenes.prompt_diff import Stretch, compare_prompts
from scene_pipeline.scenes.references import KnownPicture
from scene_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Edit:
    """A part of a scene's content that changed since its current version was made."""

    cause: str
    """As people call it: "prompt", "size"."""
    stretches: tuple[Stretch, ...]
    """What was taken out and put in; empty where the part is no text."""


@dataclass(frozen=True, slots=True)
class SceneOutlook:
    """One scene, and what is ahead of it."""

    scene: SurveyedScene
    """With the decision that the next run or sensor takes, unasked."""
    edits: tuple[Edit, ...]
    requests: tuple[WaitingRequest, ...]
    """In the order in which they are answered."""
    launch: OpenLaunch | None
    """A run for it was asked for."""
    refresh_at: datetime | None
    """From when on a new frame is made of what was edited, without being asked for."""
    refusal: str | None
    """Why a new version cannot be asked for, in words; None where it can."""


@dataclass(frozen=True, slots=True)
class ProjectOutlook:
    """A project's scenes with what is ahead of them."""

    preview: RunPreview
    scenes: tuple[SceneOutlook, ...]


async def look_ahead(
    conn: Connection,
    settings: Settings,
    prices: PriceTable,
    project_key: str,
    *,
    asks_servers: bool = False,
) -> ProjectOutlook:
    """Look at every scene of a project; everything is undone at the end.

    Args:
        conn: Outside of a transaction: this is one.
        settings: Of this process.
        prices: For the estimates.
        project_key: Whose scenes.
        asks_servers: Whether foreign servers are asked about reference pictures first; what they
            say is kept.

    Raises:
        UsageError: There is no such project, or its document cannot be used.
    """
    if asks_servers:
        await ask_servers(conn, settings, project_key)
    async with conn.transaction(force_rollback=True):
        intent = RunIntent(refresh_stale=await is_refreshed_by_itself(conn, project_key))
        preview = await prepare_run(conn, settings, prices, project_key, intent, is_dry=True)
        requests = await waiting_requests(conn, preview.survey.project_id)
        launches = await launches_of_scenes(conn, preview.survey.project_id)
    quiet = timedelta(seconds=settings.auto_refresh_quiet_seconds)
    return ProjectOutlook(
        preview=preview,
        scenes=tuple(
            SceneOutlook(
                scene=scene,
                edits=edits_of(scene.state, preview.survey.document.pictures),
                requests=tuple(requests.get(scene.ref.scene_id, ())),
                launch=launches.get(scene.ref.scene_id),
                refresh_at=_refresh_at(scene, quiet) if intent.refresh_stale else None,
                refusal=_refusal(scene, is_archived=preview.survey.project.is_archived),
            )
            for scene in preview.survey.scenes
        ),
    )


async def ask_servers(
    conn: Connection,
    settings: Settings,
    project_key: str,
    scene_ids: Sequence[str] | None = None,
) -> None:
    """Ask foreign servers about reference pictures, as a run does first; what they say is kept.

    Args:
        conn: Outside of a transaction.
        settings: Of this process.
        project_key: Whose pictures; a project that is not there has none.
        scene_ids: Only those of these scenes; None for all.
    """
    await refresh_foreign(
        lambda: nullcontext(conn),
        settings,
        project_key,
        scene_ids=scene_ids,
        open_eyes=lambda: open_eyes(settings),
    )


def has_locked_frame(state: SceneState) -> bool:
    """Whether no request for a new version would ever be answered."""
    return state.locked and state.image_id is not None


def _refusal(scene: SurveyedScene, *, is_archived: bool) -> str | None:
    if is_archived:
        return "the project is archived"
    if scene.decision.action == "invalid":
        return "the document's entry cannot be used"
    return "locked" if has_locked_frame(scene.state) else None


def edits_of(state: SceneState, pictures: Mapping[str, KnownPicture]) -> tuple[Edit, ...]:
    """What changed since the current version was made, part by part; empty where nothing did."""
    causes = causes_of(state, pictures)
    parts = [part for part in causes if part != "expanded_prompt" or not _is_own(state)]
    before, after = state.current_content or {}, state.content
    return tuple(
        Edit(cause, _compare(before.get(part), after.get(part)))
        for part, cause in zip(parts, readable_causes(parts), strict=False)
    )


def _is_own(state: SceneState) -> bool:
    """Whether the scene's own words changed: the expanded prompt then always does as well."""
    return "prompt" in (state.stale_causes or ())


def _compare(before: object, after: object) -> tuple[Stretch, ...]:
    if not isinstance(before, str | None) or not isinstance(after, str | None):
        return ()
    return compare_prompts(before or "", after or "")


def _refresh_at(scene: SurveyedScene, quiet: timedelta) -> datetime | None:
    state = scene.state
    is_due = state.state == "stale" and scene.decision.action == "generate"
    return state.content_changed_at + quiet if is_due and not state.request_id else None
