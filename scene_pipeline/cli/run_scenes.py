"""`status --run` and `status --backfill`: from something in Dagster's UI to its scenes.

Belongs here: showing. Does not belong here: finding them (`database.history`).
"""

import os
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.dagster_home import prepare_dagster_home
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import Cell, show_filled_columns
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import asked_by, dollars_of, plural, style_of
from scene_pipeline.database.history import (
    LedgerLine,
    generations_of_backfill,
    generations_of_run,
)
from scene_pipeline.errors import NotFoundError
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.session import DatabaseUrls


def show_run(
    terminal: Terminal, *, run_id: str | None = None, backfill_id: str | None = None
) -> int:
    """Show what a Dagster run planned, or what answers a backfill; returns the exit code.

    Raises:
        NotFoundError: The ledger holds nothing of it.
    """
    settings = load_settings()
    with open_databases(settings, terminal) as urls:
        if run_id is not None:
            lines = in_database(urls.application, lambda conn: generations_of_run(conn, run_id))
        else:
            lines = _lines_of_backfill(settings, urls, backfill_id or "")
    name = f"run {run_id}" if run_id is not None else f"backfill {backfill_id}"
    if not lines:
        raise NotFoundError(
            f"The ledger holds no generation of {name}.",
            code="run_unknown",
            next_action="Give the whole id as Dagster shows it; a run that only kept frames has"
            " none.",
        )
    cost = sum(line.cost_micros for line in lines)
    if terminal.is_json:
        terminal.document(
            {
                "run_id": run_id,
                "backfill_id": backfill_id,
                "generations": [_line_json(line) for line in lines],
                "cost_usd": float(usd(cost)),
            }
        )
        return 0
    show_filled_columns(
        terminal, [_cells(line) for line in lines], from_width={"asked by": 80, "project": 80}
    )
    terminal.say()
    words = f"{plural(len(lines), 'generation')} of {name}; {dollars_of(cost)} spent"
    terminal.say(plain(words), style="bold")
    return 0


def _lines_of_backfill(
    settings: Settings, urls: "DatabaseUrls", backfill_id: str
) -> list[LedgerLine]:
    """What answers a backfill; one that was executed again is answered by what the first asked."""

    def read(name: str) -> list[LedgerLine]:
        return in_database(urls.application, lambda conn: generations_of_backfill(conn, name))

    lines = read(backfill_id)
    if lines:
        return lines
    os.environ.update(prepare_dagster_home(settings, urls.dagster))
    from scene_pipeline.defs.instance import open_instance  # noqa: PLC0415  # Dagster: seconds
    from scene_pipeline.defs.run_order import first_backfill_id  # noqa: PLC0415

    with open_instance() as instance:
        first = first_backfill_id(instance, backfill_id)
    return [] if first is None else read(first)


def _cells(line: LedgerLine) -> dict[str, Cell]:
    return {
        "project": line.project_key,
        "scene": line.scene_id,
        "state": (line.state, style_of(line.state)),
        "version": ", ".join(f"v{version}" for version in line.versions),
        "cost": dollars_of(line.cost_micros) if line.cost_micros else "",
        "asked by": asked_by(line.token),
        "why": line.error_message or "",
        "url": line.storage_url or "",
    }


def _line_json(line: LedgerLine) -> dict[str, Any]:
    return {
        "project": line.project_key,
        "scene_id": line.scene_id,
        "generation_id": str(line.generation_id),
        "run_id": line.run_id,
        "token": line.token,
        "state": line.state,
        "versions": line.versions,
        "url": line.storage_url,
        "cost_usd": float(usd(line.cost_micros)),
        "error": {"code": line.error_code, "message": line.error_message}
        if line.error_code
        else None,
    }
