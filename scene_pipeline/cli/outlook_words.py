"""Where a scene stands and what is ahead of it, in the same few words in `plan` and `status`.

Belongs here: sentences and JSON about one scene. Does not belong here: tables.
"""

from datetime import datetime
from typing import Any

from scene_pipeline.cli.terminal import plain
from scene_pipeline.database.waiting import OpenLaunch, WaitingRequest
from scene_pipeline.pipeline.planning.outlook import SceneOutlook
from scene_pipeline.pipeline.planning.scene_words import edited_in_words, fallback_in_words, reason
from scene_pipeline.scenes.prompt_diff import shortened, with_brackets
from scene_pipeline.settings import Settings

_TRIGGERS = {
    "scene_changes": "the document changed",
    "auto_refresh": "edited scenes are refreshed",
    "regeneration_requests": "a new version was asked for",
    "unfinished_generations": "a generation is unfinished",
    "command": "a command is at work",
}
_ANSWERS = frozenset({"generate", "resume"})


def why(outlook: SceneOutlook) -> str:
    """Everything that is to be said of a scene beside its state, in one line."""
    is_answering = bool(outlook.requests) and outlook.scene.decision.action in _ANSWERS
    said = edited_in_words(outlook) if is_answering else reason(outlook)
    parts = [said, fallback_in_words(outlook), *waiting_in_words(outlook)]
    return plain("; ".join(part for part in parts if part))


def waiting_in_words(outlook: SceneOutlook) -> list[str]:
    """What waits for a scene: requests, and the run that was asked for."""
    requests = [request_in_words(request) for request in outlook.requests]
    return [*requests, launch_in_words(outlook.launch)] if outlook.launch else requests


def request_in_words(request: WaitingRequest) -> str:
    """An unanswered request: who asked for what, and why."""
    words = f"request {request.id}: "
    words += "asked for" if request.state == "pending" else "being made, asked for"
    words += f" by {request.requested_by}" if request.requested_by else ""
    words += f" {request.asked} times" if request.asked > 1 else ""
    words += f" with another {' and '.join(map(_wish, request.overrides))}" * bool(
        request.overrides
    )
    return f'{words} ("{request.reason}")' if request.reason else words


def _wish(name: str) -> str:
    return name.replace("image_size", "size").replace("_", " ")


def launch_in_words(launch: OpenLaunch) -> str:
    """A run that was asked for."""
    because = _TRIGGERS.get(launch.trigger, launch.trigger)
    return f"run: asked for at {clock(launch.created_at)}, since {because}"


def clock(moment: datetime) -> str:
    """A time of day here; with its date where that is not today."""
    local = moment.astimezone()
    is_today = local.date() == datetime.now(local.tzinfo).date()
    return f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M:%S}"


def refresh_in_words(settings: Settings, *, is_on: bool) -> str:
    """What becomes of edited scenes by themselves."""
    if not is_on:
        return "wait until a new version is asked for"
    return (
        f"new frames by themselves, {settings.auto_refresh_quiet_seconds:g} s after the last edit"
    )


def outlook_json(outlook: SceneOutlook) -> dict[str, Any]:
    """What is ahead of a scene, for programs."""
    state, launch = outlook.scene.state, outlook.launch
    return {
        "is_locked": state.locked,
        "is_chosen": state.is_chosen,
        "fallback": state.current_fallback,
        "edits": [
            {
                "cause": edit.cause,
                "diff": "".join(map(with_brackets, shortened(edit.stretches))) or None,
            }
            for edit in outlook.edits
        ],
        "refresh_at": outlook.refresh_at.isoformat() if outlook.refresh_at else None,
        "requests": [
            {
                "id": request.id,
                "state": request.state,
                "asked": request.asked,
                "requested_by": request.requested_by,
                "reason": request.reason,
                "overrides": dict(request.overrides),
                "created_at": request.created_at.isoformat(),
            }
            for request in outlook.requests
        ],
        "launch": None
        if launch is None
        else {
            "id": launch.id,
            "trigger": launch.trigger,
            "reason": launch.reason,
            "created_at": launch.created_at.isoformat(),
        },
    }
