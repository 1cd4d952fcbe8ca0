"""What a person can do next, each with the exact command.

Belongs here: choosing from how scenes stand, and from what came of a run. Does not belong here:
what a single failure asks for (its own `next_action`).
"""

from collections.abc import Sequence

from scene_pipeline.cli.dagster_home import shipped_file
from scene_pipeline.cli.files import is_file_argument
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.up_record import read_running
from scene_pipeline.pipeline.orders import SceneOutcome
from scene_pipeline.pipeline.planning.preview import RunPreview
from scene_pipeline.pipeline.planning.survey import ProjectSurvey
from scene_pipeline.settings import Settings

Step = tuple[str, str]
"""A reason, and the command line or address."""

_NAMED_SCENES = 8
_WITHOUT_FRAME = frozenset({"missing", "failed", "blocked", "ambiguous", "generating"})


def standing_steps(survey: ProjectSurvey) -> list[Step]:
    """What to do about scenes as they stand, the most pressing first.

    The one place from which every command that shows a whole project has them.
    """
    key = survey.project_key
    waiting = [scene for scene in survey.scenes if scene.state.state in _WITHOUT_FRAME]
    steps: list[Step] = []
    if any(scene.decision.action != "failed" for scene in waiting):
        steps.append(("Make the frames that are missing with:", command("run", key)))
    # A run would only say of them that they failed: they are paid for again when asked for.
    if any(
        scene.state.state == "failed" and scene.decision.action == "failed" for scene in waiting
    ):
        steps.append(
            (
                "Ask for new frames of the scenes that failed with:",
                command("regenerate", key, "--failed"),
            )
        )
    if any(scene.state.state == "stale" for scene in survey.scenes):
        steps.append(("Make new frames for the scenes that were edited with:", _refresh(key)))
    return steps


def _refresh(project_key: str, scene_ids: Sequence[str] = ()) -> str:
    """The command that makes new frames of edited scenes: all of them, or those that are named."""
    chosen = [argument for scene_id in scene_ids for argument in ("--scene", scene_id)]
    return command("run", project_key, "--stale", *chosen)


def next_steps(
    settings: Settings, preview: RunPreview, outcomes: Sequence[SceneOutcome], target: str
) -> list[Step]:
    """What to do after a run, the most pressing first."""
    key = preview.survey.project_key
    steps: list[Step] = []
    again = [o for o in outcomes if o.status in {"failed", "blocked", "ambiguous"}]
    if again:
        steps.append(("Take the scenes without a frame up again:", command("run", key)))
    if any(outcome.status == "invalid" for outcome in outcomes):
        file = target if is_file_argument(target) else "FILE"
        steps.append(
            ("Correct the invalid scenes in the document and import it:", command("run", file))
        )
    stale = [outcome.scene.scene_id for outcome in outcomes if outcome.status == "stale"]
    if stale:
        steps.append(
            (
                f"{', '.join(stale[:_NAMED_SCENES])} changed since the frame was made; "
                "make new ones with:",
                _refresh(key, stale if len(stale) <= _NAMED_SCENES else ()),
            )
        )
    running = read_running(settings)
    if running is not None and running.is_ready:
        steps.append(("See them in Dagster's web interface:", running.dagster_url))
    elif not again:
        steps.append(
            ("See them in the browser, with frames that open at their URLs:", up_command())
        )
    return steps


def show_steps(terminal: Terminal, steps: Sequence[Step]) -> None:
    """Say each step on two lines, the command so that it can be copied whole."""
    for reason, step in steps:
        terminal.say(plain(reason))
        terminal.say(f"  {step}", style="cyan")


def up_command() -> str:
    """How `up` is started here: through make in a clone, by the program elsewhere."""
    return "make up" if _is_clone() else command("up")


def _is_clone() -> bool:
    from pathlib import Path  # noqa: PLC0415  # where used

    top = shipped_file("workspace.yaml").parent
    return (top / "Makefile").is_file() and Path.cwd() == top
