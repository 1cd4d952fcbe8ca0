"""`collect`: what lies in the store and is needed by nothing; removed only when asked.

Belongs here: showing. Does not belong here: deciding what is garbage (`pipeline.upkeep.collect`).
"""

import asyncio
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.retention_report import retention_json, show_retention
from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.collection import Amount
    from scene_pipeline.pipeline.upkeep.collect_report import CollectReport


def collect_garbage(terminal: Terminal, *, apply: bool, delete_unknown: bool) -> int:
    """Find garbage, remove it if asked, and tell; returns the exit code."""
    settings = load_settings()
    with (
        open_databases(settings, terminal) as urls,
        terminal.waiting("Looking through rows and objects"),
    ):
        report = asyncio.run(_collect(settings, urls.application, apply, delete_unknown))
    if terminal.is_json:
        terminal.document(_report_json(report, settings))
    else:
        _show(terminal, report, settings, delete_unknown=delete_unknown)
    return 1 if report.failures else 0


async def _collect(
    settings: Settings, database_url: str, apply: bool, delete_unknown: bool
) -> "CollectReport":
    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy
    from scene_pipeline.pipeline.upkeep.collect import collect  # noqa: PLC0415  # where used

    async with open_services(settings, database_url) as services:
        return await collect(services, apply=apply, delete_unknown=delete_unknown)


def _show(
    terminal: Terminal, report: "CollectReport", settings: Settings, *, delete_unknown: bool
) -> None:
    hours = settings.collect_grace_hours
    if report.retained is not None:
        show_retention(terminal, report.retained, hours)
    _show_garbage(terminal, report, hours)
    is_clean = not any(
        amount.objects
        for amount in (report.old_versions, report.leftovers, report.unfinished, report.late)
    )
    if report.is_applied:
        _show_removed(terminal, report)
    elif not is_clean or report.old_sheets or report.old_reports:
        terminal.say("Nothing was changed. Remove it with:")
        terminal.say(f"  {command('collect', '--apply')}", style="cyan")
    if report.unknown.objects and not (report.is_applied and delete_unknown):
        terminal.say("Where no other database uses this store, remove unknown objects too with:")
        terminal.say(f"  {command('collect', '--apply', '--unknown')}", style="cyan")


def _show_garbage(terminal: Terminal, report: "CollectReport", hours: float) -> None:
    terminal.say(f"Older than {hours:g} h and needed by nothing:", style="bold")
    found = (
        ("leftovers of uploads and unused pictures", report.leftovers),
        ("marked by an earlier call", report.unfinished),
        ("arrived after their removal", report.late),
        ("unknown to this database", report.unknown),
        ("unknown and undated (never removed)", report.undated),
        ("uploads that no import waits for (swept after a day)", report.uploads),
    )
    for words, amount in found:
        if amount.objects:
            terminal.say(f"  {words}: {_amount(amount)}")
    if report.old_sheets:
        terminal.say(f"  old contact sheets: {report.old_sheets}")
    if report.old_reports:
        terminal.say(f"  old pages and reports: {report.old_reports}")
    is_empty = not any(amount.objects for _, amount in found)
    if is_empty and not report.old_sheets and not report.old_reports:
        terminal.say("  nothing")
    for key in report.unknown_keys:
        terminal.say(plain(f"    {key}"), style="dim")
    for failure in report.failures:
        terminal.say(plain(f"  {failure}"), style="red")


def _show_removed(terminal: Terminal, report: "CollectReport") -> None:
    terminal.say(f"Removed: {_amount(report.deleted)}.", style="bold")
    if report.unfinished_uploads:
        dead = plural(report.unfinished_uploads, "upload")
        terminal.say(f"Gave up {dead} that died in the store half-way.")
    if not report.is_complete:
        terminal.say("More is left; go on with:")
        terminal.say(f"  {command('collect', '--apply')}", style="cyan")


def _amount(amount: "Amount") -> str:
    return f"{plural(amount.objects, 'object')}, {amount.size_bytes:,} bytes"


def _report_json(report: "CollectReport", settings: Settings) -> dict[str, Any]:
    amounts = {
        name: {"objects": amount.objects, "size_bytes": amount.size_bytes}
        for name, amount in (
            ("old_versions", report.old_versions),
            ("leftovers", report.leftovers),
            ("unfinished", report.unfinished),
            ("late", report.late),
            ("unknown", report.unknown),
            ("undated", report.undated),
            ("uploads", report.uploads),
            ("deleted", report.deleted),
        )
    }
    return {
        "is_applied": report.is_applied,
        "is_complete": report.is_complete,
        "grace_hours": settings.collect_grace_hours,
        "keep_versions": settings.keep_versions,
        "keep_days": settings.keep_days,
        **amounts,
        "retention": None if report.retained is None else retention_json(report.retained),
        "old_sheets": report.old_sheets,
        "old_reports": report.old_reports,
        "unfinished_uploads": report.unfinished_uploads,
        "unknown_keys": report.unknown_keys,
        "failures": report.failures,
    }
