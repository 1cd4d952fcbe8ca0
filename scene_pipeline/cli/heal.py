"""`heal`: pictures that are at their provider only come into the store.

Belongs here: showing. Does not belong here: healing (`pipeline.upkeep.heal`).
"""

import asyncio
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.pipeline.keeping.healer import HealedVersion
    from scene_pipeline.pipeline.upkeep.heal import HealReport

_STYLES = {"healed": "green", "already": "green", "busy": "dim", "external": "yellow"}
_FAILURES_SHOWN = 10


def heal_frames(terminal: Terminal, project_key: str | None) -> int:
    """Heal, and tell; returns the exit code: 1 while anything is at its provider only.

    Raises:
        NotFoundError: There is no such project.
    """
    settings = load_settings()
    with open_databases(settings, terminal) as urls, terminal.waiting("Healing"):
        report = asyncio.run(_heal(settings, urls.application, project_key))
    if terminal.is_json:
        terminal.document(_report_json(report))
    else:
        _show(terminal, report, project_key)
    return 1 if report.remaining else 0


async def _heal(settings: Settings, database_url: str, project_key: str | None) -> "HealReport":
    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy
    from scene_pipeline.pipeline.upkeep.heal import heal  # noqa: PLC0415  # where used

    async with open_services(settings, database_url) as services:
        return await heal(services, project_key=project_key)


def _show(terminal: Terminal, report: "HealReport", project_key: str | None) -> None:
    if not report.versions:
        terminal.say("Every frame is in the store; nothing is to be healed.")
        return
    table = SceneTable(terminal, ["project", "scene", "version", "status", "url"])
    for version in report.versions:
        table.add(
            version.scene.project_key,
            version.scene.scene_id,
            f"v{version.version}",
            (version.status, _STYLES.get(version.status, "red")),
            version.url,
        )
    table.show()
    terminal.say()
    failed = [version for version in report.versions if version.failure is not None]
    for version in failed[:_FAILURES_SHOWN]:
        _show_failure(terminal, version)
    if len(failed) > _FAILURES_SHOWN:
        terminal.say(f"  and {len(failed) - _FAILURES_SHOWN} more; --json names all of them")
    healed = plural(report.count("healed"), "frame")
    terminal.say(f"{healed} healed; {report.remaining} at their providers only", style="bold")
    if report.remaining:
        terminal.say("Try again with:")
        arguments = [] if project_key is None else [project_key]
        terminal.say(f"  {command('heal', *arguments)}", style="cyan")


def _show_failure(terminal: Terminal, version: "HealedVersion") -> None:
    failure = version.failure
    if failure is None:
        return
    name = f"{version.scene.project_key}/{version.scene.scene_id}"
    until = f" ({version.expires_at.astimezone():%Y-%m-%d %H:%M})" if version.expires_at else ""
    terminal.say(plain(f"  {name}{until}  [{failure.code}]  {failure.message}"), style="red")
    terminal.say(plain(f"  {' ' * len(name)}  {failure.next_action}"))


def _report_json(report: "HealReport") -> dict[str, Any]:
    return {
        "versions": [_version_json(version) for version in report.versions],
        "healed": report.count("healed"),
        "remaining": report.remaining,
    }


def _version_json(version: "HealedVersion") -> dict[str, Any]:
    failure = version.failure
    return {
        "project": version.scene.project_key,
        "scene_id": version.scene.scene_id,
        "version": version.version,
        "status": version.status,
        "url": version.url,
        "expires_at": version.expires_at.isoformat() if version.expires_at else None,
        "document": version.document,
        "error": None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "next_action": failure.next_action,
        },
    }
