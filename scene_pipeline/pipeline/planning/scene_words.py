"""Where a scene stands and what cures it, in the same few words wherever it is shown.

Belongs here: sentences about one scene that `status`, `plan` and pages share. Does not belong here:
times of day and what waits for a run (`cli.outlook_words`).
"""

import shlex

from scene_pipeline.pipeline.planning.outlook import SceneOutlook
from scene_pipeline.pipeline.projects.fallbacks import made_by_fallback
from scene_pipeline.scenes.planning import FOREIGN_FRAME, PROJECT_ARCHIVED

_ERROR_STATES = frozenset({"failed", "blocked", "ambiguous"})


def reason(outlook: SceneOutlook) -> str:
    """Why a scene is in its state, or what is about to happen; empty where there is nothing."""
    state, decision = outlook.scene.state, outlook.scene.decision
    edited = edited_in_words(outlook)
    if state.problem_message:
        return state.problem_message
    if state.state in _ERROR_STATES and state.error_message:
        return state.error_message
    if state.is_chosen:
        return f"version {state.version} was chosen by hand; {edited}"
    if is_unsent(outlook):
        return "planned, and nothing was sent yet"
    if state.state == "locked":
        return f"never replaced; {edited}" if edited else "never replaced"
    return "" if state.state == "current" and decision.action == "keep" else decision.reason


def standing_in_words(outlook: SceneOutlook) -> str:
    """Why a scene stands as it does, for something that is kept: nothing of what waits for it.

    Requests come and go before anything that is shown has changed.
    """
    state = outlook.scene.state
    said = reason(outlook)
    if state.request_id is not None and state.state in {"current", "stale", "missing", "external"}:
        said = edited_in_words(outlook) or ("no frame yet" if state.state == "missing" else "")
    if state.state == "missing" and outlook.scene.blocked is not None:
        said = outlook.scene.blocked.message
    return "; ".join(part for part in (said, fallback_in_words(outlook)) if part)


def next_action(outlook: SceneOutlook) -> str:
    """What a person can do about a scene: a sentence or a command; empty where all is well."""
    scene, state = outlook.scene, outlook.scene.state
    project, scene_id = scene.ref.project_key, scene.ref.scene_id
    if state.problem_code is not None:
        return "Correct the scene in the document and import it again."
    if state.state in _ERROR_STATES:
        return state.error_next_action or _command("run", project)
    if scene.decision.action == "invalid":
        return "Correct the document; its scenes stay as they were planned last."
    match state.state:
        case "missing":
            action = _action_without_frame(outlook)
        case "generating" if is_unsent(outlook):
            # Whether its run was cancelled, so that nobody goes on by itself, is Dagster's to know.
            action = (
                f"Wait for the run that is at work on it; is there none: {_command('run', project)}"
            )
        case "generating":
            action = f"Wait, or look at it with: {_command('status', project)}"
        case "stale":
            action = _command("run", project, "--stale", "--scene", scene_id)
        case "external":
            action = _command("heal")
        case _:
            action = _command("run", project) if scene.decision.action == "republish" else ""
    return action


def is_unsent(outlook: SceneOutlook) -> bool:
    """Whether a picture was planned, and its request not sent: no money can be lost of it."""
    state = outlook.scene.state
    return state.state == "generating" and state.open_state == "planned"


def edited_in_words(outlook: SceneOutlook) -> str:
    """Which parts of its content changed since its frame was made; empty where none did."""
    causes = " and ".join(edit.cause for edit in outlook.edits)
    return f"edited since: {causes}" if causes else ""


def fallback_in_words(outlook: SceneOutlook) -> str:
    """Who made the current version, where it was not the model that was asked first; else empty."""
    fallback, current = outlook.scene.state.current_fallback, outlook.scene.current
    if fallback is None or current is None:
        return ""
    return made_by_fallback(fallback, current.provider, current.endpoint)


def _action_without_frame(outlook: SceneOutlook) -> str:
    scene = outlook.scene
    project = scene.ref.project_key
    failure = scene.problem or scene.blocked
    if failure is not None:
        return failure.next_action
    if scene.decision.code == PROJECT_ARCHIVED:
        return _command("project", project, "--unarchive")
    if scene.decision.code == FOREIGN_FRAME:
        return _command("run", project, "--regenerate", "--scene", scene.ref.scene_id)
    return _command("run", project)


def _command(*arguments: str) -> str:
    return shlex.join(["scene-pipeline", *arguments])
