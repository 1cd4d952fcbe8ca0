"""A project's report in words, tables and JSON.

Belongs here: what stands where. Does not belong here: reading and writing files (`cli.report`).
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.tables import Cell, show_fields, show_filled_columns
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import dollars_of, duration, plural, spent_in_words, style_of
from scene_pipeline.pipeline.facts import dollars
from scene_pipeline.pipeline.reporting.spending import dollars_each, money_columns

if TYPE_CHECKING:
    from scene_pipeline.pipeline.reporting.project_report import ProjectReport
    from scene_pipeline.pipeline.reporting.spending import Spending
    from scene_pipeline.pipeline.reporting.tables import Value

Record = Mapping[str, "Value"]

# From how many columns of a terminal on a heading is shown.
_SCENE_WIDTHS = {"version": 60, "seconds": 100, "not shown": 110, "model": 90, "failed with": 80}
_MODEL_WIDTHS = {"versions": 90, "rejected": 120, "p95": 110, "median": 90, "not shown": 130}
_FAILURE_WIDTHS = {"scenes": 60, "why": 70}


def show_tables(terminal: Terminal, report: "ProjectReport") -> None:
    """Show a report: its totals, then a table each of scenes, models and failures."""
    title, key = report.title, report.project_key
    terminal.say(plain(f"{title}  ({key})" if title else key), style="bold")
    show_fields(terminal, _fields(report))
    if report.scenes.rows:
        terminal.say()
        rows = [_scene_cells(record) for record in report.scenes.records()]
        show_filled_columns(terminal, rows, from_width=_SCENE_WIDTHS)
    if report.models.rows:
        terminal.say()
        rows = [_model_cells(record) for record in report.models.records()]
        show_filled_columns(terminal, rows, from_width=_MODEL_WIDTHS)
    if report.failures.rows:
        terminal.say()
        terminal.say("Failures by code, with what each said last:", style="bold")
        rows = [_failure_cells(record) for record in report.failures.records()]
        show_filled_columns(terminal, rows, from_width=_FAILURE_WIDTHS)
        terminal.say("Which scenes still wait, and what to do about each, is told by:")
        terminal.say(f"  {command('status', key)}", style="cyan")


def report_json(report: "ProjectReport", files: Mapping[str, Path]) -> dict[str, Any]:
    """The report as JSON; dollars and seconds are numbers."""
    return {
        "project": report.project_key,
        "title": report.title,
        "totals": _totals_json(report.totals),
        "scenes": [_json(record) for record in report.scenes.records()],
        "models": [_json(record) for record in report.models.records()],
        "failures": [_json(record) for record in report.failures.records()],
        "files": {kind: str(path) for kind, path in files.items()},
    }


def _fields(report: "ProjectReport") -> dict[str, str]:
    totals = report.totals
    in_film = sum(record["state"] != "retired" for record in report.scenes.records())
    fields = {
        "frames": f"{totals.frames} of {plural(in_film, 'scene')},"
        f" {plural(totals.versions, 'picture')} made",
        "attempts": f"{totals.attempts} sent, {plural(totals.failures, 'failure')}"
        + (f" ({totals.rejections} rejected)" if totals.rejections else ""),
        "waited": f"{duration(totals.seconds)} for answers, many at once",
        "money": spent_in_words(totals.money),
    }
    each = dollars_each(totals.money, totals.frames)
    if each:
        fields["per frame"] = dollars(each)
    wasted = totals.money.wasted_micros
    if wasted:
        fields["not shown"] = (
            f"{dollars_of(wasted)} for other versions, failures and doubtful payments"
        )
    return fields


def _scene_cells(record: Record) -> dict[str, Cell]:
    state, version = str(record["state"]), record["version"]
    return {
        "scene": str(record["scene_id"]),
        "state": (state, style_of(state)),
        "version": "" if version is None else f"v{version}",
        "attempts": str(record["attempts"] or ""),
        "failed with": str(record["failure_codes"] or ""),
        "seconds": _seconds(record["seconds"] or None),
        "cost": _dollars(record["cost_usd"]),
        "not shown": _dollars(record["wasted_usd"]),
        "model": str(record["model"] or ""),
    }


def _model_cells(record: Record) -> dict[str, Cell]:
    return {
        "model": f"{record['provider']} {record['model']}",
        "frames": str(record["frames"]),
        "versions": str(record["versions"]),
        "attempts": str(record["attempts"]),
        "failures": str(record["failures"] or ""),
        "rejected": str(record["rejections"] or ""),
        "median": _seconds(record["seconds_median"]),
        "p95": _seconds(record["seconds_p95"]),
        "cost": _dollars(record["cost_usd"]),
        "per frame": _dollars(record["cost_per_frame_usd"]),
        "not shown": _dollars(record["wasted_usd"]),
    }


def _failure_cells(record: Record) -> dict[str, Cell]:
    return {
        "code": (str(record["code"]), "red"),
        "times": str(record["failures"]),
        "scenes": str(record["scenes"]),
        "why": str(record["said"] or ""),
    }


def _dollars(amount: "Value") -> str:
    return dollars(amount) if isinstance(amount, Decimal) and amount else ""


def _seconds(seconds: "Value") -> str:
    return f"{seconds:.1f} s" if isinstance(seconds, float) else ""


def _totals_json(totals: "Spending") -> dict[str, Any]:
    each = dollars_each(totals.money, totals.frames)
    return {
        "frames": totals.frames,
        "versions": totals.versions,
        "attempts": totals.attempts,
        "failures": totals.failures,
        "rejections": totals.rejections,
        "seconds": totals.seconds,
        **{name: float(amount) for name, amount in money_columns(totals.money).items()},
        "cost_per_frame_usd": None if each is None else float(each),
    }


def _json(record: Record) -> dict[str, Any]:
    return {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in record.items()
    }
