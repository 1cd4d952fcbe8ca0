"""What a person can do next, each with the exact command.

Belongs here: choosing from what came of a run. Does not belong here: what a single failure asks for
(its own `next_action`).
"""

from collections.abc import Sequence

from scene_pipeline.cli.dagster_home import shipped_file
from scene_pipeline.cli.files import is_file_argument
from scene_pipeline.cli.terminal import command
from scene_pipeline.cli.up_record import read_running
from scene_pipeline.pipeline.orders import SceneOutcome
from scene_pipeline.pipeline.planning.preview import RunPreview
from scene_pipeline.settings import Settings

_NAMED_SCENES = 8


def next_steps(
    settings: Settings, preview: RunPreview, outcomes: Sequence[SceneOutcome], target: str
) -> list[tuple[str, str]]:
    """Pairs of a reason and a command line or address, the most pressing first."""
    key = preview.survey.project_key
    steps: list[tuple[str, str]] = []
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
        chosen = [argument for scene_id in stale for argument in ("--scene", scene_id)]
        narrowed = chosen if len(stale) <= _NAMED_SCENES else []
        steps.append(
            (
                f"{', '.join(stale[:_NAMED_SCENES])} changed since the frame was made; "
                "make new ones with:",
                command("run", key, "--stale", *narrowed),
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


def up_command() -> str:
    """How `up` is started here: through make in a clone, by the program elsewhere."""
    return "make up" if _is_clone() else command("up")


def _is_clone() -> bool:
    from pathlib import Path  # noqa: PLC0415  # where used

    top = shipped_file("workspace.yaml").parent
    return (top / "Makefile").is_file() and Path.cwd() == top
