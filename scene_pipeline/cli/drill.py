"""`drill`: the promises tried under scripted faults, and what held.

Belongs here: opening the user's own database and store, and showing. Does not belong here: faults
and verdicts (`scene_pipeline.drill`).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.run_header import storage_in_words
from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.tables import SceneTable, show_fields
from scene_pipeline.cli.terminal import Terminal, command
from scene_pipeline.cli.wording import dollars_of, duration, plural
from scene_pipeline.drill.scenarios import choose
from scene_pipeline.errors import UsageError
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.session import DatabaseUrls
    from scene_pipeline.drill.exercise import DrillReport
    from scene_pipeline.drill.removal import Cleaned, Removed
    from scene_pipeline.storage.base import ObjectStore

_HELD = ("held", "green")
_BROKEN = ("BROKEN", "bold red")


def run_drill(terminal: Terminal, names: list[str], *, is_kept: bool) -> int:
    """Drill; returns the exit code, 1 where a promise was broken.

    Raises:
        UsageError: There is no such fault, or a setting cannot be used; nothing was done.
    """
    from scene_pipeline.cli.drill_progress import DrillProgress  # noqa: PLC0415  # heavy
    from scene_pipeline.drill.exercise import drill  # noqa: PLC0415

    scenarios = choose(names)
    settings = load_settings()
    with _user_parts(settings, terminal) as (urls, store):
        with DrillProgress(terminal, scenarios) as display:
            report = drill(
                settings, urls.application, store, scenarios, is_kept=is_kept, tell=display
            )
        database = urls.description
    if terminal.is_json:
        terminal.document(_report_json(report, settings, database))
    else:
        _show(terminal, report, settings, database)
    return 1 if report.broken else 0


def clean_up(terminal: Terminal, names: list[str], *, is_kept: bool) -> int:
    """Remove what killed and kept drills have left behind; returns the exit code.

    Raises:
        UsageError: Something else is asked for at the same time.
    """
    from scene_pipeline.drill.removal import clean  # noqa: PLC0415  # heavy

    if names or is_kept:
        raise UsageError(
            "--clean runs no drill, so it takes neither --provider-faults nor --keep.",
            code="usage",
            next_action="Give --clean alone.",
        )
    settings = load_settings()
    with (
        _user_parts(settings, terminal) as (urls, store),
        terminal.waiting("Removing what drills have left"),
    ):
        cleaned = asyncio.run(clean(urls.application, store))
    if terminal.is_json:
        terminal.document(
            {
                "removed": [_removed_json(removed) for removed in cleaned.removed],
                "under_way": list(cleaned.under_way),
            }
        )
    else:
        _show_cleaned(terminal, cleaned)
    return 0


@contextmanager
def _user_parts(
    settings: Settings, terminal: Terminal
) -> "Iterator[tuple[DatabaseUrls, ObjectStore]]":
    """The database and the object store as the user has set them."""
    from scene_pipeline.storage.registry import build_store  # noqa: PLC0415  # heavy

    with open_databases(settings, terminal) as urls:
        store = build_store(settings, database_url=urls.application)
        try:
            yield urls, store
        finally:
            store.close()


def _show(terminal: Terminal, report: "DrillReport", settings: Settings, database: str) -> None:
    terminal.say("A drill: real pipeline, real database and storage, no money.", style="bold")
    show_fields(terminal, {"storage": storage_in_words(settings), "database": database})
    terminal.say()
    if terminal.is_live:
        _show_lines(terminal, report)
    else:
        _show_table(terminal, report)
    terminal.say()
    held = len(report.verdicts) - len(report.broken)
    terminal.say(
        f"{held} of {plural(len(report.verdicts), 'promise')} held in {duration(report.seconds)};"
        f" {plural(report.metered.requests, 'request')} metered"
        f" ({dollars_of(report.metered.cost_micros)} of play money),"
        f" {report.recorded.requests} recorded ({dollars_of(report.recorded.cost_micros)}).",
        style="bold red" if report.broken else "bold",
    )
    if report.removed is not None:
        _show_removed(terminal, report.removed)
    else:
        terminal.say(f"Project {report.key} stays until:")
        terminal.say(f"  {command('drill', '--clean')}", style="cyan")


def _show_table(terminal: Terminal, report: "DrillReport") -> None:
    table = SceneTable(terminal, ["", "promise", "fault", "what happened"])
    for verdict in report.verdicts:
        table.add(
            _HELD if verdict.is_held else _BROKEN, verdict.promise, verdict.fault, verdict.happened
        )
    table.show()


def _show_lines(terminal: Terminal, report: "DrillReport") -> None:
    """At a terminal the four columns would be cut; each promise gets two lines instead."""
    from rich.padding import Padding  # noqa: PLC0415  # where used
    from rich.text import Text  # noqa: PLC0415

    for verdict in report.verdicts:
        mark, style = _HELD if verdict.is_held else _BROKEN
        terminal.console.print(Text.assemble((f"{mark:<8}", style), verdict.promise))
        found = Text(f"{verdict.fault} -> {verdict.happened}", "dim" if verdict.is_held else "red")
        terminal.console.print(Padding(found, (0, 0, 0, 8), expand=False))


def _show_cleaned(terminal: Terminal, cleaned: "Cleaned") -> None:
    for removed in cleaned.removed:
        _show_removed(terminal, removed)
    for key in cleaned.under_way:
        terminal.say(f"Project {key} was left alone: its drill is still running.")
    if not cleaned.removed and not cleaned.under_way:
        terminal.say("No drill has left anything behind.")


def _show_removed(terminal: Terminal, removed: "Removed") -> None:
    terminal.say(
        f"Project {removed.key} was removed with {plural(removed.objects, 'object')}"
        f" and {plural(removed.rows, 'row')}."
    )


def _removed_json(removed: "Removed") -> dict[str, Any]:
    return {"project": removed.key, "objects": removed.objects, "rows": removed.rows}


def _report_json(report: "DrillReport", settings: Settings, database: str) -> dict[str, Any]:
    return {
        "project": report.key,
        "is_held": not report.broken,
        "promises": [
            {
                "name": verdict.name,
                "promise": verdict.promise,
                "fault": verdict.fault,
                "happened": verdict.happened,
                "is_held": verdict.is_held,
            }
            for verdict in report.verdicts
        ],
        "metered": {
            "requests": report.metered.requests,
            "cost_micros": report.metered.cost_micros,
        },
        "recorded": {
            "requests": report.recorded.requests,
            "cost_micros": report.recorded.cost_micros,
        },
        "seconds": round(report.seconds, 1),
        "removed": None if report.removed is None else _removed_json(report.removed),
        "database": database,
        "storage": storage_in_words(settings),
    }
