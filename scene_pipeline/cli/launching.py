"""Executing the Dagster jobs of `run` in this process, with the display around them.

Belongs here: the order of the launches and what is told while they last. Does not belong here: how
a job is executed (`defs.launch`).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from scene_pipeline.cli.dagster_home import prepare_dagster_home
from scene_pipeline.cli.progress import RunProgress
from scene_pipeline.cli.run_header import run_cap_usd
from scene_pipeline.cli.session import in_database
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.errors import AGAIN, ScenePipelineError, named
from scene_pipeline.pipeline.orders import Failure, SceneOutcome, SceneRef
from scene_pipeline.pipeline.planning.preview import RunIntent, RunPreview
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.scenes.identity import scene_id_problem
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline.settings import Settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.database.session import DatabaseUrls


@dataclass(slots=True)
class LaunchedRun:
    """What came of the Dagster runs."""

    run_ids: tuple[str, ...] = ()
    outcomes: dict[SceneRef, SceneOutcome] = field(default_factory=dict)
    """Of the scenes that Dagster can know."""
    sheet_problem: str | None = None
    """Why there is no new contact sheet."""

    def outcomes_of(self, preview: RunPreview) -> tuple[SceneOutcome, ...]:
        """One outcome per scene that was asked for, in the document's order."""
        return tuple(
            self.outcomes.get(scene.ref) or _outcome_without_run(scene)
            for scene in preview.survey.scenes
        )


def launch(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    preview: RunPreview,
    intent: RunIntent,
    *,
    max_cost_usd: Decimal | None,
) -> LaunchedRun:
    """Execute the runs of a preview, then the contact sheet's where it no longer fits.

    Args:
        terminal: Where the display goes.
        settings: Of this process.
        urls: Both databases.
        preview: What was settled.
        intent: What was asked for.
        max_cost_usd: The run's own cap.

    Raises:
        ScenePipelineError: The work could not begin or go on at all.
        KeyboardInterrupt: It was interrupted; the next run resumes it.
    """
    os.environ.update(prepare_dagster_home(settings, urls.dagster))
    key = preview.survey.project_key
    scenes = [scene.ref for scene in preview.survey.scenes if _has_partition(scene.ref)]
    cap_usd = run_cap_usd(preview, max_cost_usd)
    launched = LaunchedRun()
    with ExitStack() as stack:
        stack.enter_context(_closed_launch(urls, preview))
        progress = stack.enter_context(RunProgress(terminal, scenes, cap_usd))
        if terminal.is_json:  # whatever a library may print, the document stands alone
            stack.enter_context(redirect_stdout(sys.stderr))
        # Two and a half seconds of imports: only now, when the display can say what it waits for.
        from scene_pipeline.defs.dead_runs import end_dead_runs  # noqa: PLC0415
        from scene_pipeline.defs.instance import open_instance  # noqa: PLC0415
        from scene_pipeline.defs.launch import launch_frames, launch_storyboard  # noqa: PLC0415
        from scene_pipeline.defs.metadata import launch_tags  # noqa: PLC0415
        from scene_pipeline.defs.resources import PipelineRuntime  # noqa: PLC0415

        instance = stack.enter_context(open_instance())
        end_dead_runs(instance)
        runtime = PipelineRuntime(
            settings, urls.application, observer=progress, on_interruption=progress.stopping
        )
        result = launch_frames(
            instance,
            runtime,
            key,
            [scene.scene_id for scene in scenes],
            mode="ensure",
            overrides=RequestOverrides() if intent.regenerate else intent.overrides,
            refresh_stale=intent.refresh_stale,
            max_cost_usd=max_cost_usd,
            tags=launch_tags(preview.launch_id, intent.requested_by),
        )
        launched.run_ids = result.run_ids
        launched.outcomes = {outcome.scene: outcome for outcome in result.outcomes}
        if in_database(urls.application, lambda conn: _sheet_is_stale(conn, preview)):
            progress.doing("Drawing the contact sheet")
            try:
                launch_storyboard(instance, runtime, key)
            except ScenePipelineError as error:  # the frames are there all the same
                launched.sheet_problem = f"{error.message} {error.next_action}"
    return launched


@contextmanager
def _closed_launch(urls: "DatabaseUrls", preview: RunPreview) -> Iterator[None]:
    """Close the command's launch at its end, however it ends; one that stays open expires."""
    outcome = "FAILURE"
    try:
        yield
        outcome = "SUCCESS"
    except KeyboardInterrupt:
        outcome = "CANCELED"
        raise
    finally:
        if preview.launch_id is not None:
            with suppress(ScenePipelineError):
                _close(urls, preview.launch_id, outcome)


def _close(urls: "DatabaseUrls", launch_id: int, outcome: str) -> None:
    from scene_pipeline.database.launches import close_launch  # noqa: PLC0415  # where used

    in_database(urls.application, lambda conn: close_launch(conn, launch_id, outcome))


def _has_partition(scene: SceneRef) -> bool:
    """Whether Dagster can know the scene: an impossible id is told as invalid without it."""
    return scene_id_problem(scene.scene_id) is None


async def _sheet_is_stale(conn: "Connection", preview: RunPreview) -> bool:
    from scene_pipeline.database.storyboards import fingerprint_of, latest_storyboard  # noqa: PLC0415  # where used

    latest = await latest_storyboard(conn, preview.survey.project_id)
    if latest is None:
        return True
    return latest.fingerprint != await fingerprint_of(conn, preview.survey.project_id)


def _outcome_without_run(scene: SurveyedScene) -> SceneOutcome:
    """For a scene that no run could carry: its id cannot be a key, or the run ended before it."""
    state = scene.state
    if scene.decision.action == "invalid":
        return SceneOutcome(
            scene.ref,
            status="invalid",
            frame=None,
            failure=Failure(
                code=state.problem_code or "scene_invalid",
                message=state.problem_message or "The scene is not in the document.",
                next_action="Correct the scene in the document and import it again.",
            ),
        )
    return SceneOutcome(
        scene.ref,
        status="failed",
        frame=None,
        failure=Failure(
            code="not_reached",
            message="The run ended before this scene.",
            next_action=named(f"Go on with {AGAIN}.", scene.ref.project_key, state.scene_id),
        ),
    )
