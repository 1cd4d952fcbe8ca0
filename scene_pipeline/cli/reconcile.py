"""`reconcile`: where documents, database and store disagree; repaired only when asked.

Belongs here: showing. Does not belong here: what is drift (`pipeline.upkeep.reconcile`).
"""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.pipeline.upkeep.drift import Drift, LibraryDrift, ReconcileReport

_STYLES = {"repaired": "green", "found": "yellow"}
_DRIFTS_SHOWN = 50


def reconcile_projects(terminal: Terminal, project_key: str | None, *, apply: bool) -> int:
    """Compare, repair if asked, and tell; returns the exit code: 1 while anything is left to do.

    Raises:
        NotFoundError: There is no such project.
    """
    settings = load_settings()
    with (
        open_databases(settings, terminal) as urls,
        terminal.waiting("Comparing documents, rows and objects"),
    ):
        report = asyncio.run(_reconcile(settings, urls.application, project_key, apply))
    if terminal.is_json:
        terminal.document(_report_json(report))
    else:
        _show(terminal, report, project_key)
    return 0 if report.is_clean else 1


async def _reconcile(
    settings: Settings, database_url: str, project_key: str | None, apply: bool
) -> "ReconcileReport":
    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy
    from scene_pipeline.pipeline.upkeep.reconcile import reconcile  # noqa: PLC0415  # where used

    async with open_services(settings, database_url) as services:
        return await reconcile(services, project_key, apply=apply)


def _show(terminal: Terminal, report: "ReconcileReport", project_key: str | None) -> None:
    drifts = report.all_drifts
    for drift in drifts[:_DRIFTS_SHOWN]:
        _show_drift(terminal, drift)
    if len(drifts) > _DRIFTS_SHOWN:
        terminal.say(f"  and {len(drifts) - _DRIFTS_SHOWN} more; --json names all of them")
    if report.store_failure is not None:
        failure = report.store_failure
        terminal.say(plain(f"  [{failure.code}]  {failure.message}"), style="red")
        terminal.say(plain(f"  {failure.next_action}"))
    counts = Counter(drift.status for drift in drifts)
    words = ", ".join(f"{number} {status}" for status, number in counts.items()) or "no drift"
    terminal.say(
        f"{plural(report.versions_checked, 'frame')} and"
        f" {plural(report.objects_checked, 'object')} looked at: {words}",
        style="bold",
    )
    if not report.is_complete:
        terminal.say("Not everything could be looked at.", style="yellow")
    if counts["found"]:
        arguments = [] if project_key is None else [project_key]
        terminal.say("Nothing was changed. Repair it with:")
        terminal.say(f"  {command('reconcile', *arguments, '--apply')}", style="cyan")


def _show_drift(terminal: Terminal, drift: "Drift | LibraryDrift") -> None:
    name = drift.name
    style = _STYLES.get(drift.status, "red")
    terminal.say(plain(f"  {name}  {drift.status}  [{drift.kind}]  {drift.message}"), style=style)
    if drift.status in {"told", "failed"}:
        terminal.say(plain(f"  {' ' * len(name)}  {drift.next_action}"))


def _report_json(report: "ReconcileReport") -> dict[str, Any]:
    failure = report.store_failure
    return {
        "is_applied": report.is_applied,
        "is_complete": report.is_complete,
        "is_clean": report.is_clean,
        "versions_checked": report.versions_checked,
        "objects_checked": report.objects_checked,
        "drifts": [
            {
                "kind": drift.kind,
                "project": drift.scene.project_key,
                "scene_id": drift.scene.scene_id,
                "version": drift.version,
                "status": drift.status,
                "message": drift.message,
                "next_action": drift.next_action,
            }
            for drift in report.drifts
        ],
        "library_drifts": [
            {
                "kind": drift.kind,
                "subject": drift.subject,
                "status": drift.status,
                "message": drift.message,
                "next_action": drift.next_action,
            }
            for drift in report.library_drifts
        ],
        "error": None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "next_action": failure.next_action,
        },
    }
