"""Named places where a test or a drill can stop, kill or fail this process.

Inert unless SCENE_PIPELINE_FAILPOINT=name[:action] arms one; the action is `kill` (SIGKILL, the
default), `stop` (SIGSTOP), `raise` or `sleep`. They are compiled in, so that what is tested is what
runs.
"""

import os
import signal
import time
from typing import Literal, get_args

from scene_pipeline.errors import ConfigurationError, SceneError

Failpoint = Literal[
    "before_plan",
    "after_plan",
    "after_permit",
    "before_post",
    "after_post",
    "after_submitted",
    "while_polling",
    "after_result",
    "after_completed",
    "after_download",
    "after_inspect",
    "after_intent",
    "after_upload",
    "after_stored",
    "after_recorded",
    "before_publish",
    "after_publish",
]
FAILPOINTS: tuple[Failpoint, ...] = get_args(Failpoint)
OrderFailpoint = Literal["after_references", "after_rung"]
CandidateFailpoint = Literal[
    "candidate_before_upload",
    "candidate_before_keep",
    "candidate_after_keep",
]
CANDIDATE_FAILPOINTS: tuple[CandidateFailpoint, ...] = get_args(CandidateFailpoint)
HealFailpoint = Literal[
    "heal_before_download",
    "heal_after_inspect",
    "heal_before_upload",
    "heal_after_upload",
    "heal_before_record",
    "heal_after_record",
]
HEAL_FAILPOINTS: tuple[HealFailpoint, ...] = get_args(HealFailpoint)
TickFailpoint = Literal[
    "tick_after_synchronise",
    "tick_after_settling",
    "tick_after_close",
    "tick_after_launch",
]
TICK_FAILPOINTS: tuple[TickFailpoint, ...] = get_args(TickFailpoint)
AssetFailpoint = Literal[
    "asset_after_intent",
    "asset_after_upload",
    "asset_before_record",
    "asset_after_record",
]
ASSET_FAILPOINTS: tuple[AssetFailpoint, ...] = get_args(AssetFailpoint)
ImportFailpoint = Literal[
    "import_after_claim",
    "import_after_download",
    "import_after_add",
    "import_after_done",
    "import_tick_after_mark",
]
IMPORT_FAILPOINTS: tuple[ImportFailpoint, ...] = get_args(ImportFailpoint)
CopyFailpoint = Literal[
    "copy_after_download",
    "copy_after_upload",
    "copy_after_row",
    "copy_before_addresses",
    "copy_between_addresses",
    "copy_after_addresses",
]
COPY_FAILPOINTS: tuple[CopyFailpoint, ...] = get_args(CopyFailpoint)
AnyFailpoint = Literal[
    Failpoint,
    OrderFailpoint,
    CandidateFailpoint,
    HealFailpoint,
    TickFailpoint,
    AssetFailpoint,
    ImportFailpoint,
    CopyFailpoint,
]
_KNOWN: frozenset[str] = frozenset(get_args(AnyFailpoint))
_SLEEP_SECONDS = 5.0
_armed: dict[str, str] = {}


def arm(setting: str | None) -> None:
    """Arm the failpoint that the setting names; None disarms all.

    Raises:
        ConfigurationError: There is no such failpoint or action.
    """
    _armed.clear()
    if not setting:
        return
    name, _, action = setting.partition(":")
    if name not in _KNOWN or action not in ("", "kill", "stop", "raise", "sleep"):
        message = f"SCENE_PIPELINE_FAILPOINT={setting} names no failpoint and action."
        raise ConfigurationError(
            message, code="failpoint_unknown", next_action="Unset it outside of tests and drills."
        )
    _armed[name] = action or "kill"


def failpoint(name: AnyFailpoint) -> None:
    """Do what is armed for this place; nothing, unless something is."""
    action = _armed.get(name)
    if action is None:
        return
    if action == "raise":
        message = f"Failpoint {name}."
        raise SceneError(message, code="failpoint", retryable=True)
    if action == "sleep":
        time.sleep(_SLEEP_SECONDS)
        return
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
