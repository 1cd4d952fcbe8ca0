"""`scene-pipeline run`: the main job, from a file or project to permanent frames.

Belongs here: the order of things, and what an interruption or a lost part means for the command.
Does not belong here: decisions about scenes (`pipeline`), Dagster (`defs`), layout (`run_report`).

Mode of operation: everything that can be refused is refused before anything is written or paid;
then the Dagster job runs in this process, on the instance that `up` shows.
"""

import time
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.cli.dry_run import show_dry_run
from scene_pipeline.cli.files import is_file_argument, read_source
from scene_pipeline.cli.launching import launch
from scene_pipeline.cli.outputs import write_outputs
from scene_pipeline.cli.run_header import show_header
from scene_pipeline.cli.run_report import RunReport, show_report
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import MAX_COMMAND, InterruptedRun, Terminal, command
from scene_pipeline.errors import ScenePipelineError, UsageError
from scene_pipeline.pipeline.orders import UNFINISHED
from scene_pipeline.pipeline.planning.outlook import ask_servers
from scene_pipeline.pipeline.planning.preview import (
    DocumentSource,
    RunIntent,
    RunPreview,
    check_settings,
    prepare_run,
    read_money,
)
from scene_pipeline.pipeline.prices import load_prices
from scene_pipeline.pipeline.store_probe import probe_writing
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.registry import build_store

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.database.session import DatabaseUrls


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
    def intent(self) -> RunIntent:
        """What is asked of the project's scenes."""
        return RunIntent(
            scene_ids=self.scene_ids or None,
            regenerate=self.regenerate,
            refresh_stale=self.refresh_stale,
            overrides=RequestOverrides(provider=self.provider, model=self.model),
            requested_by="scene-pipeline run",
        )

    def going_on(self, project_key: str, *, is_json: bool) -> tuple[str, ...]:
        """The arguments that take up what was settled, and ask for no new version again.

        While a request is open the same words would continue it; but checks follow the frames, and
        once the last request is answered the same words are another one.
        """
        options: dict[str, object] = {
            "--stale": self.refresh_stale,
            "--max-cost": self.max_cost_usd,
            "--json": is_json,
        }
        if not self.regenerate:  # requests carry these, and the document is imported
            options |= {
                "--provider": self.provider,
                "--model": self.model,
                "--project": self.project_key,
                "--force": self.force,
            }
        words = ["run", project_key if self.regenerate else self.target]
        for name, value in options.items():
            if value is not None and value is not False:
                words += [name] if value is True else [name, str(value)]
        scenes = [word for scene_id in self.scene_ids for word in ("--scene", scene_id)]
        if len(command(*words, *scenes)) > MAX_COMMAND:
            scenes = ["--scene", "ID"]
        return (*words, *scenes)


def run(arguments: RunArguments, terminal: Terminal) -> int:
    """Carry the command out; returns its exit code.

    Raises:
        UsageError: Something that is asked for cannot be; nothing was changed.
    """
    began_at = time.monotonic()
    settings = load_settings()
    source = _source(arguments)
    check_settings(settings)
    preview = None
    try:
        with open_databases(settings, terminal) as urls:
            preview = _prepare(settings, urls, source, arguments)
            if arguments.is_dry:
                return show_dry_run(terminal, settings, urls.description, preview, arguments)
            report = _carry_out(terminal, settings, urls, preview, arguments, began_at=began_at)
        show_report(terminal, settings, urls.description, report)
    except KeyboardInterrupt as error:
        if preview is None or arguments.is_dry:
            raise
        key = preview.survey.project_key
        raise InterruptedRun(*arguments.going_on(key, is_json=terminal.is_json)) from error
    return 1 if any(outcome.status in UNFINISHED for outcome in report.outcomes) else 0


def _carry_out(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    preview: RunPreview,
    arguments: RunArguments,
    *,
    began_at: float,
) -> RunReport:
    """Do what was settled; what is told of it at the end."""
    show_header(terminal, settings, urls.description, preview, arguments.max_cost_usd)
    launched = launch(
        terminal, settings, urls, preview, arguments.intent, max_cost_usd=arguments.max_cost_usd
    )
    files = write_outputs(settings, urls.application, preview.survey.project_key)
    preview = _with_money_of_now(settings, urls, preview)
    return RunReport(
        preview=preview,
        outcomes=launched.outcomes_of(preview),
        run_ids=launched.run_ids,
        files=files,
        seconds=time.monotonic() - began_at,
        sheet_problem=launched.sheet_problem,
        target=arguments.target,
        max_cost_usd=arguments.max_cost_usd,
    )


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
    async def prepare(conn: "Connection") -> RunPreview:
        # A run asks when it plans; a file's pictures are asked about once it is imported.
        if arguments.is_dry and isinstance(source, str):
            await ask_servers(conn, settings, source, arguments.intent.scene_ids)
        return await prepare_run(
            conn,
            settings,
            await load_prices(conn, settings),
            source,
            arguments.intent,
            is_dry=arguments.is_dry,
            check_store=None if arguments.is_dry else lambda: _check_store(settings, urls),
        )

    return in_database(urls.application, prepare)


def _with_money_of_now(settings: Settings, urls: "DatabaseUrls", preview: RunPreview) -> RunPreview:
    """The preview with what the run has left of the caps, for its report."""

    async def read(conn: "Connection") -> RunPreview:
        budgets, costs = await read_money(conn, settings, preview.survey.project_id)
        return replace(preview, budgets=budgets, costs=costs)

    return in_database(urls.application, read)


def _check_store(settings: Settings, urls: "DatabaseUrls") -> None:
    """Write and remove one small object: nothing is paid for that could not be kept.

    Raises:
        UsageError: The store refuses.
    """
    store = build_store(settings, database_url=urls.application)
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
