"""`collect`: what lies in the store and is needed by nothing; removed only when asked.

Belongs here: showing. Does not belong here: deciding what is garbage (`pipeline.upkeep.collect`).
"""

import asyncio
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.collection import Amount
    from scene_pipeline.pipeline.upkeep.collect import CollectReport


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
    _show_old_versions(terminal, report, settings)
    terminal.say(f"Older than {hours:g} h and needed by nothing:", style="bold")
    for words, amount in (
        ("leftovers of uploads and unused pictures", report.leftovers),
        ("marked by an earlier call", report.unfinished),
        ("arrived after their removal", report.late),
        ("unknown to this database", report.unknown),
        ("unknown and undated (never removed)", report.undated),
    ):
        if amount.objects:
            terminal.say(f"  {words}: {_amount(amount)}")
    if report.old_sheets:
        terminal.say(f"  old contact sheets: {report.old_sheets}")
    for key in report.unknown_keys:
        terminal.say(plain(f"    {key}"), style="dim")
    for failure in report.failures:
        terminal.say(plain(f"  {failure}"), style="red")
    is_clean = not any(
        amount.objects
        for amount in (report.old_versions, report.leftovers, report.unfinished, report.late)
    )
    if report.is_applied:
        terminal.say(f"Removed: {_amount(report.deleted)}.", style="bold")
        if not report.is_complete:
            terminal.say("More is left; go on with:")
            terminal.say(f"  {command('collect', '--apply')}", style="cyan")
    elif is_clean and not report.old_sheets:
        terminal.say("  nothing")
    else:
        terminal.say("Nothing was changed. Remove it with:")
        terminal.say(f"  {command('collect', '--apply')}", style="cyan")
    if report.unknown.objects and not (report.is_applied and delete_unknown):
        terminal.say("Where no other database uses this store, remove unknown objects too with:")
        terminal.say(f"  {command('collect', '--apply', '--unknown')}", style="cyan")


def _show_old_versions(terminal: Terminal, report: "CollectReport", settings: Settings) -> None:
    if not report.old_versions.objects:
        return
    what = plural(report.old_versions.objects, "old version")
    verb = "Gave up" if report.is_applied else "Would give up"
    terminal.say(
        f"{verb} {what}, {report.old_versions.size_bytes:,} bytes; kept are the newest"
        f" {settings.keep_versions} of each scene, what is younger than"
        f" {settings.keep_days:g} days, and whatever is in use.",
        style="bold",
    )
    terminal.say(
        f"  The bytes are removed by a collection {settings.collect_grace_hours:g} h later."
    )


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
        "old_sheets": report.old_sheets,
        "unknown_keys": report.unknown_keys,
        "failures": report.failures,
    }
