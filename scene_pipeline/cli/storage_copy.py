"""`storage copy`: a library moves to another store.

Belongs here: opening both stores, showing. Does not belong here: copying
(`pipeline.upkeep.storage_copy`).
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.copy_progress import CopyDisplay
from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.storage_target import target_settings
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.errors import DatabaseError, UsageError
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.collection import Amount
    from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyReport

_FAILURES_SHOWN = 10
_ROWS = {
    "documents": "start frames in documents",
    "scene_images": "versions",
    "storyboards": "contact sheets",
    "user_assets": "assets",
}


@dataclass(frozen=True, slots=True)
class _Names:
    """Both stores, without credentials."""

    source: str
    target: str
    url: str
    """What SCENE_PIPELINE_STORAGE has to say from now on."""

    @property
    def is_same(self) -> bool:
        return self.source == self.target


def copy_library(terminal: Terminal, url: str, env_file: Path | None, *, verify: bool) -> int:
    """Copy, correct, and tell; returns the exit code: 1 while anything is missing.

    Raises:
        UsageError: A store cannot be used, or another copy is under way.
    """
    settings = load_settings()
    target = target_settings(url, env_file)
    with open_databases(settings, terminal) as urls, CopyDisplay(terminal) as display:
        names, report = asyncio.run(_copy(settings, urls.application, target, verify, display))
    if terminal.is_json:
        terminal.document(_report_json(report, names))
    else:
        _show(terminal, report, names, _arguments(url, env_file, verify=verify))
    return 0 if report.is_complete else 1


async def _copy(
    settings: Settings,
    database_url: str,
    target_settings: Settings,
    verify: bool,
    display: CopyDisplay,
) -> "tuple[_Names, CopyReport]":
    import psycopg  # noqa: PLC0415  # where used

    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy
    from scene_pipeline.pipeline.upkeep.storage_copy import copy_storage  # noqa: PLC0415
    from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyTarget  # noqa: PLC0415
    from scene_pipeline.storage.registry import build_store, store_identity  # noqa: PLC0415

    names = _Names(
        store_identity(settings),
        store_identity(target_settings),
        target_settings.resolved_storage_url,
    )
    if names.target.startswith("memory:"):
        raise UsageError(
            "A store in memory keeps nothing.",
            code="storage_target_invalid",
            next_action="Name a store that lasts with --to.",
        )
    store = build_store(target_settings, database_url=database_url)
    target = CopyTarget(store, names.target, target_settings.public_url, names.is_same)
    try:
        async with open_services(settings, database_url) as services:
            report = await copy_storage(services, target, verify=verify, tell=display)
    except psycopg.OperationalError as error:
        raise DatabaseError(
            "The database stopped answering.",
            next_action="See that it runs (`scene-pipeline doctor`), then run the command again:"
            " it goes on where it was.",
        ) from error
    finally:
        store.close()
    return names, report


def _show(terminal: Terminal, report: "CopyReport", names: _Names, arguments: list[str]) -> None:
    terminal.say(plain(f"From {names.source}"))
    terminal.say(plain(f"To   {names.target}"))
    terminal.say(
        f"{_amount(report.copied)} of {_amount(report.present)} there"
        f" ({_amount(report.sent)} sent by this call, {report.found.objects} found there"
        + (f", {report.verified} read back" if report.verified else "")
        + ")",
        style="bold",
    )
    for failed in report.failures[:_FAILURES_SHOWN]:
        failure = failed.failure
        terminal.say(plain(f"  {failed.key}  [{failure.code}]  {failure.message}"), style="red")
        terminal.say(plain(f"    {failure.next_action}"))
    if len(report.failures) > _FAILURES_SHOWN:
        terminal.say(f"  and {len(report.failures) - _FAILURES_SHOWN} more; --json names them")
    if report.given_up is not None:
        terminal.say("The rest was not tried: too many failures in a row.", style="red")
    _show_addresses(terminal, report)
    for sentence in _next_steps(report, names, command(*arguments)):
        terminal.say(plain(sentence))


def _show_addresses(terminal: Terminal, report: "CopyReport") -> None:
    words = [f"{report.moved[name]} {said}" for name, said in _ROWS.items() if report.moved[name]]
    if words:
        terminal.say(f"Addresses corrected: {', '.join(words)}.")
    elif report.addresses == "corrected":
        terminal.say("All addresses are right.")
    for drift in report.drifts[:_FAILURES_SHOWN]:
        terminal.say(
            plain(
                f"  {drift.scene.project_key}/{drift.scene.scene_id}: the document has another"
                f" address than version {drift.version} had; it was left alone."
            ),
            style="yellow",
        )
    if report.drifts:
        terminal.say(f"  {plural(len(report.drifts), 'scene')} like this. Look at them with:")
        terminal.say(f"  {command('reconcile')}", style="cyan")
    if report.named_elsewhere:
        shown = ", ".join(report.named_elsewhere[:_FAILURES_SHOWN])
        hidden = len(report.named_elsewhere) - _FAILURES_SHOWN
        terminal.say(
            plain(
                f"  Documents hold addresses of the library's files in another store: {shown}"
                + (f" and {hidden} more" if hidden > 0 else "")
                + ". They work as long as that store does; name the files as asset:ID there, or by"
                " the addresses of today (`scene-pipeline assets url ID`)."
            ),
            style="yellow",
        )


def _next_steps(report: "CopyReport", names: _Names, again: str) -> list[str]:
    steps: list[str] = []
    if not report.is_complete:
        said = " No address was changed." if report.addresses == "held_back" else ""
        steps += [f"Something is missing.{said} Go on with:", f"  {again}"]
    if names.is_same or report.addresses == "held_back":
        return steps
    steps += [
        "The old store is as it was; its addresses go on working as long as it is there.",
        "Set this now, and start `up` again:",
        f"  SCENE_PIPELINE_STORAGE={names.url}",
        "together with the target's other variables. Until then new frames go to the old store;"
        " bring them with the same command:",
        f"  {again}",
    ]
    if report.addresses == "wait_for_switch":
        steps.append(
            f"{report.waiting_addresses} of the new addresses are our own server's, which shows the"
            " store in use: run the command once more after the switch, and they are written."
        )
    return steps


def _arguments(url: str, env_file: Path | None, *, verify: bool) -> list[str]:
    return [
        "storage",
        "copy",
        "--to",
        url,
        *([] if env_file is None else ["--to-env", str(env_file)]),
        *(["--verify"] if verify else []),
    ]


def _amount(amount: "Amount") -> str:
    return f"{plural(amount.objects, 'object')}, {amount.size_bytes:,} bytes"


def _amount_json(amount: "Amount") -> dict[str, int]:
    return {"objects": amount.objects, "size_bytes": amount.size_bytes}


def _report_json(report: "CopyReport", names: _Names) -> dict[str, Any]:
    return {
        "source": names.source,
        "target": names.target,
        "is_same_store": names.is_same,
        "is_complete": report.is_complete,
        "present": _amount_json(report.present),
        "copied": _amount_json(report.copied),
        "sent": _amount_json(report.sent),
        "found": _amount_json(report.found),
        "verified": report.verified,
        "failures": [
            {
                "key": failed.key,
                "side": failed.side,
                "code": failed.failure.code,
                "message": failed.failure.message,
                "next_action": failed.failure.next_action,
            }
            for failed in report.failures
        ],
        "gave_up": report.given_up is not None,
        "addresses": report.addresses,
        "waiting_addresses": report.waiting_addresses,
        "corrected": {name: report.moved[name] for name in _ROWS},
        "drift": [
            {
                "project": drift.scene.project_key,
                "scene_id": drift.scene.scene_id,
                "version": drift.version,
            }
            for drift in report.drifts
        ],
        "documents_with_other_addresses": report.named_elsewhere,
        "set": None if names.is_same else {"SCENE_PIPELINE_STORAGE": names.url},
    }
