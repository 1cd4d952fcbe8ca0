"""What `storage copy` says at its end, and its JSON.

Belongs here: words. Does not belong here: opening the stores (`cli.storage_copy`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import plural

if TYPE_CHECKING:
    from scene_pipeline.database.collection import Amount
    from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyReport

_FAILURES_SHOWN = 10
_ROWS = {
    "documents": "start frames in documents",
    "scene_images": "versions",
    "storyboards": "contact sheets",
    "report_files": "report files",
    "user_assets": "assets",
}


@dataclass(frozen=True, slots=True)
class StoreNames:
    """Both stores, without credentials."""

    source: str
    target: str
    url: str
    """What SCENE_PIPELINE_STORAGE has to say from now on."""

    @property
    def is_same(self) -> bool:
        """Whether the target is the store in use."""
        return self.source == self.target


def show_copy(
    terminal: Terminal, report: "CopyReport", names: StoreNames, arguments: list[str]
) -> None:
    """Say what was copied, what is missing, and what to do next; `arguments` are the command's."""
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
    if report.unreadable is not None:
        failure = report.unreadable
        terminal.say(plain(f"  [{failure.code}]  {failure.message}"), style="red")
        for line in failure.next_action.splitlines():
            terminal.say(f"    {plain(line)}")
    if report.unseen is not None:
        terminal.say(
            plain(
                "The new addresses are our own server's, which does not show the store now"
                f" ({report.unseen}): `up` with the target's variables does."
            ),
            style="yellow",
        )
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


def _next_steps(report: "CopyReport", names: StoreNames, again: str) -> list[str]:
    steps: list[str] = []
    if not report.is_complete:
        what = "Something is missing." if report.unreadable is None else "Everything is there."
        said = " No address was changed." if report.addresses == "held_back" else ""
        steps += [f"{what}{said} Go on with:", f"  {again}"]
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


def _amount(amount: "Amount") -> str:
    return f"{plural(amount.objects, 'object')}, {amount.size_bytes:,} bytes"


def _amount_json(amount: "Amount") -> dict[str, int]:
    return {"objects": amount.objects, "size_bytes": amount.size_bytes}


def copy_json(report: "CopyReport", names: StoreNames) -> dict[str, Any]:
    """The same for programs."""
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
        "unreadable": None
        if report.unreadable is None
        else {
            "code": report.unreadable.code,
            "message": report.unreadable.message,
            "next_action": report.unreadable.next_action,
        },
        "unseen": report.unseen,
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
