"""`scene-pipeline run`: the main job, from a file or project to permanent frames.

Belongs here: the order of things, and what an interruption or a lost part means for the command.
Does not belong here: decisions about scenes (`pipeline`), Dagster (`defs`), layout (`run_report`).

Mode of operation: everything that can be refused is refused before anything is written or paid;
then the Dagster job runs in this process, on the instance that `up` shows.
"""

import os
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.cli.dagster_home import prepare_dagster_home
from scene_pipeline.cli.dry_run import show_dry_run
from scene_pipeline.cli.files import is_file_argument, read_source
from scene_pipeline.cli.outputs import write_outputs
from scene_pipeline.cli.progress import RunProgress
from scene_pipeline.cli.run_header import run_cap_usd, show_header
from scene_pipeline.cli.run_report import RunReport, show_report
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import Terminal, command
from scene_pipeline.errors import ScenePipelineError, UsageError
from scene_pipeline.pipeline.orders import UNFINISHED, Failure, SceneOutcome, SceneRef
from scene_pipeline.pipeline.preview import (
    DocumentSource,
    RunIntent,
    RunPreview,
    check_defaults,
    may_pay,
    prepare_run,
)
from scene_pipeline.pipeline.store_probe import probe_writing
from scene_pipeline.providers.prices import PriceTable
from scene_pipeline.scenes.identity import scene_id_problem
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.registry import build_store

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.database.session import DatabaseUrls

EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class RunArguments:
    """What stands on the command line."""

    target: str
    """A file, or the key of a project."""
    scene_ids: tuple[str, ...] = ()
    regenerate: bool = False
    refresh_stale: bool = False
    provider: str | None = None
    model: str | None = None
    is_dry: bool = False
    max_cost_usd: Decimal | None = None
    project_key: str | None = None
    force: bool = False

    @property
    def overrides(self) -> RequestOverrides:
        """What the command sets over document and settings."""
        return RequestOverrides(provider=self.provider, model=self.model)


@dataclass(slots=True)
class _Launched:
    """What came of the Dagster runs."""

    run_ids: tuple[str, ...] = ()
    outcomes: dict[SceneRef, SceneOutcome] = field(default_factory=dict)
    sheet_problem: str | None = None


def run(arguments: RunArguments, terminal: Terminal) -> int:
    """Carry the command out; returns its exit code.

    Raises:
        UsageError: Something that is asked for cannot be; nothing was changed.
    """
    began_at = time.monotonic()
    settings = load_settings()
    source = _source(arguments)
    check_defaults(settings)
    with open_databases(settings, terminal) as urls:
        preview = _prepare(settings, urls, source, arguments)
        if arguments.is_dry:
            return show_dry_run(terminal, settings, urls.description, preview, arguments)
        show_header(terminal, settings, urls.description, preview, arguments.max_cost_usd)
        if any(may_pay(scene) for scene in preview.survey.scenes):
            _check_store(settings)
        try:
            launched = _launch(terminal, settings, urls, preview, arguments)
            files = write_outputs(settings, urls.application, preview.survey.project_key)
        except KeyboardInterrupt:
            return _interrupted(terminal, preview.survey.project_key)
    report = RunReport(
        preview=preview,
        outcomes=_all_outcomes(preview, launched.outcomes),
        run_ids=launched.run_ids,
        files=files,
        seconds=time.monotonic() - began_at,
        sheet_problem=launched.sheet_problem,
        target=arguments.target,
    )
    show_report(terminal, settings, urls.description, report)
    return 1 if any(outcome.status in UNFINISHED for outcome in report.outcomes) else 0


def _source(arguments: RunArguments) -> DocumentSource | str:
    if is_file_argument(arguments.target):
        return read_source(
            Path(arguments.target), project_key=arguments.project_key, force=arguments.force
        )
    if arguments.project_key is not None or arguments.force:
        raise UsageError(
            "--project and --force belong to a file that is imported.",
            code="usage",
            next_action="Name a file, or leave them out.",
        )
    return arguments.target


def _prepare(
    settings: Settings,
    urls: "DatabaseUrls",
    source: DocumentSource | str,
    arguments: RunArguments,
) -> RunPreview:
    intent = RunIntent(
        scene_ids=arguments.scene_ids or None,
        regenerate=arguments.regenerate,
        refresh_stale=arguments.refresh_stale,
        overrides=arguments.overrides,
        requested_by="scene-pipeline run",
    )
    prices = PriceTable.load()

    async def prepare(conn: "Connection") -> RunPreview:
        return await prepare_run(conn, settings, prices, source, intent, is_dry=arguments.is_dry)

    return in_database(urls.application, prepare)


def _check_store(settings: Settings) -> None:
    """Write and remove one small object: nothing is paid for that could not be kept.

    Raises:
        UsageError: The store refuses.
    """
    store = build_store(settings)
    try:
        probe_writing(store)
    except ScenePipelineError as error:
        raise UsageError(
            f"Nothing was generated, since frames cannot be stored: {error.message}",
            code=error.error_code,
            next_action=error.next_action,
        ) from error
    finally:
        store.close()


def _launch(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    preview: RunPreview,
    arguments: RunArguments,
) -> _Launched:
    os.environ.update(prepare_dagster_home(settings, urls.dagster))
    key = preview.survey.project_key
    scenes = [scene.ref for scene in preview.survey.scenes if _has_partition(scene.ref)]
    cap_usd = run_cap_usd(preview, arguments.max_cost_usd)
    launched = _Launched()
    with RunProgress(terminal, scenes, cap_usd) as progress:
        # Two and a half seconds of imports: only now, when the display can say what it waits for.
        from scene_pipeline.defs.dead_runs import end_dead_runs  # noqa: PLC0415
        from scene_pipeline.defs.instance import open_instance  # noqa: PLC0415
        from scene_pipeline.defs.launch import launch_frames, launch_storyboard  # noqa: PLC0415
        from scene_pipeline.defs.resources import PipelineRuntime  # noqa: PLC0415

        with open_instance() as instance:
            end_dead_runs(instance)
            runtime = PipelineRuntime(settings, urls.application, observer=progress)
            result = launch_frames(
                instance,
                runtime,
                key,
                [scene.scene_id for scene in scenes],
                mode="ensure",
                overrides=RequestOverrides() if arguments.regenerate else arguments.overrides,
                refresh_stale=arguments.refresh_stale,
                max_cost_usd=arguments.max_cost_usd,
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


def _has_partition(scene: SceneRef) -> bool:
    """Whether Dagster can know the scene: an impossible id is told as invalid without it."""
    return scene_id_problem(scene.scene_id) is None


async def _sheet_is_stale(conn: "Connection", preview: RunPreview) -> bool:
    from scene_pipeline.database.storyboards import (  # noqa: PLC0415  # where used
        fingerprint_of,
        latest_storyboard,
    )

    latest = await latest_storyboard(conn, preview.survey.project_id)
    if latest is None:
        return True
    return latest.fingerprint != await fingerprint_of(conn, preview.survey.project_id)


def _all_outcomes(
    preview: RunPreview, outcomes: dict[SceneRef, SceneOutcome]
) -> tuple[SceneOutcome, ...]:
    """One outcome per scene that was asked for, in the document's order."""
    return tuple(
        outcomes.get(scene.ref)
        or SceneOutcome(
            scene.ref,
            status="invalid" if scene.decision.action == "invalid" else "failed",
            frame=None,
            failure=Failure(
                code=scene.state.problem_code or "not_reached",
                message=scene.state.problem_message or "The run ended before this scene.",
                next_action="Correct the scene in the document and import it again."
                if scene.state.problem_code
                else "Run the command again.",
            ),
        )
        for scene in preview.survey.scenes
    )


def _interrupted(terminal: Terminal, project_key: str) -> int:
    terminal.fail(
        ScenePipelineError(
            "Interrupted; nothing that is paid for is lost.",
            code="interrupted",
            next_action=f"Go on with: {command('run', project_key)}",
        )
    )
    return EXIT_INTERRUPTED

