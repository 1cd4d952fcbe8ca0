"""The addresses of `assets add`: asked for as rows, and imported by a Dagster run of this process.

Belongs here: the order of things. Does not belong here: files (`cli.assets`), how a run is executed
(`defs.import_run`), and what is said of the results, which whoever calls adds to those of files.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from scene_pipeline.cli.dagster_home import prepare_dagster_home
from scene_pipeline.cli.import_progress import ImportDisplay
from scene_pipeline.cli.session import in_database
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.database.imports import (
    MAX_ASKED,
    AskedImports,
    ImportRequest,
    ImportRow,
    ask_for_imports,
    get_import,
)
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.import_events import ImportOutcome
from scene_pipeline.pipeline.library.naming import asset_name, checked_place
from scene_pipeline.pipeline.library.sources import shown_source
from scene_pipeline.pipeline.library.tagging import normalised_tags
from scene_pipeline.settings import Settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.database.session import DatabaseUrls

_LEFT_TO_US = timedelta(seconds=60)
"""Until a running `up` takes up what this command did not get to."""


def is_address(text: str) -> bool:
    """Whether an argument of `assets add` is an address rather than a file."""
    return text.lower().startswith(("http://", "https://"))


def add_urls(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    requests: Sequence[ImportRequest],
) -> list[ImportOutcome]:
    """Ask for addresses and import them here, with a display while it lasts.

    Args:
        terminal: Where the display goes; silent with `--json`.
        settings: Of this process.
        urls: Both databases, migrated.
        requests: At least one; all of one project, or of none.

    Returns:
        One outcome per request, in their order.

    Raises:
        UsageError: There are more than 1000, or a name, tag or place cannot be kept.
        ScenePipelineError: The work could not begin or go on at all.
        KeyboardInterrupt: It was interrupted; what is in the library stays.
    """
    if len(requests) > MAX_ASKED:
        raise UsageError(
            f"{len(requests)} addresses are too many at once.",
            code="usage",
            next_action=f"Give at most {MAX_ASKED}.",
        )
    launch_id = uuid4()
    checked = [
        replace(
            request,
            name=asset_name(request.name, Path()) if request.name else None,
            tags=normalised_tags(request.tags),
            client_id=checked_place("client", request.client_id),
            campaign_id=checked_place("campaign", request.campaign_id),
        )
        for request in requests
    ]

    async def ask(conn: "Connection") -> AskedImports:
        return await ask_for_imports(conn, checked, due_in=_LEFT_TO_US, launch_id=launch_id)

    asked = in_database(urls.application, ask).imports
    found = _carry_out(terminal, settings, urls, asked, launch_id)
    rest = [row.id for row in asked if row.id not in found]
    now = in_database(urls.application, lambda conn: _read(conn, rest))
    return [found.get(row.id) or _outcome_elsewhere(now.get(row.id, row)) for row in asked]


def _carry_out(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    asked: Sequence[ImportRow],
    launch_id: UUID,
) -> dict[UUID, ImportOutcome]:
    os.environ.update(prepare_dagster_home(settings, urls.dagster))
    sources = {row.id: shown_source(row) for row in asked}
    with ExitStack() as stack:
        display = stack.enter_context(ImportDisplay(terminal, sources))
        if terminal.is_json:  # whatever a library may print, the document stands alone
            stack.enter_context(redirect_stdout(sys.stderr))
        # Two and a half seconds of imports: only now, when the display can say what it waits for.
        from scene_pipeline.defs.dead_runs import end_dead_runs  # noqa: PLC0415
        from scene_pipeline.defs.import_run import run_imports  # noqa: PLC0415
        from scene_pipeline.defs.instance import open_instance  # noqa: PLC0415
        from scene_pipeline.defs.resources import PipelineRuntime  # noqa: PLC0415

        instance = stack.enter_context(open_instance())
        end_dead_runs(instance)
        runtime = PipelineRuntime(settings, urls.application, import_observer=display)
        run_imports(instance, runtime, asked[0].project_key, launch_id)
    return display.outcomes


async def _read(conn: "Connection", import_ids: Sequence[UUID]) -> dict[UUID, ImportRow]:
    rows = [await get_import(conn, import_id) for import_id in import_ids]
    return {row.id: row for row in rows if row is not None}


def _outcome_elsewhere(row: ImportRow) -> ImportOutcome:
    """Of an import that another run has, or has settled."""
    return ImportOutcome(row.id, shown_source(row), row.kind, "busy", asset_id=row.asset_id)


def outcome_json(outcome: ImportOutcome) -> dict[str, Any]:
    """What became of one address, as JSON."""
    failure = outcome.failure
    again = outcome.again_in
    return {
        "import_id": str(outcome.import_id),
        "source": outcome.source,
        "kind": outcome.kind,
        "status": outcome.status,
        "asset_id": outcome.asset_id,
        "url": outcome.url,
        "mime_type": outcome.mime_type,
        "size_bytes": outcome.size_bytes,
        "notes": list(outcome.notes),
        "tried_again_in_seconds": None if again is None else again.total_seconds(),
        "error": None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "next_action": failure.next_action,
        },
    }
