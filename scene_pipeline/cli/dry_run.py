"""`run --dry-run`: what would be done and why, what it would cost, and what is left to spend.

Belongs here: showing a preview. Does not belong here: deciding (`pipeline.planning.preview`),
undoing (the preview's own transaction is rolled back).
"""

from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.estimates import (
    expected_in_words,
    expected_usd,
    left_micros,
    next_action_of,
    scene_error,
    show_cost,
    unknown_prices,
)
from scene_pipeline.cli.run_header import provider_names, setting_json, show_header
from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal, problem_json
from scene_pipeline.cli.wording import style_of
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.planning.preview import RunPreview, may_pay
from scene_pipeline.scenes.table import prompts_table
from scene_pipeline.settings import Settings

if TYPE_CHECKING:
    from scene_pipeline.cli.run import RunArguments


def show_dry_run(
    terminal: Terminal,
    settings: Settings,
    database: str,
    preview: RunPreview,
    arguments: "RunArguments",
) -> int:
    """Show what a run would do; returns the exit code, 1 where scenes cannot be made."""
    scenes = preview.survey.scenes
    if terminal.is_json:
        terminal.document(_dry_run_json(settings, database, preview, arguments))
    else:
        show_header(terminal, settings, database, preview, arguments.max_cost_usd)
        _show_scenes(terminal, preview)
        _show_prompts(terminal, preview)
        _show_money(terminal, preview, arguments)
    return 1 if any(scene_error(scene) is not None for scene in scenes) else 0


def _show_scenes(terminal: Terminal, preview: RunPreview) -> None:
    table = SceneTable(terminal, ["scene", "action", "estimate", "why"])
    for scene in preview.survey.scenes:
        action = next_action_of(scene)
        table.add(
            scene.ref.scene_id,
            (action, style_of(action)),
            expected_in_words(scene),
            scene.state.problem_message or scene.decision.reason,
        )
    table.show()


def _show_prompts(terminal: Terminal, preview: RunPreview) -> None:
    rows = _prompt_rows(preview)
    table = SceneTable(terminal, ["scene", "size", "model", "length", "prompt"])
    for row in rows:
        table.add(
            row["scene_id"],
            row["size"],
            row["model"],
            str(row["expanded_characters"]),
            row["expanded_prompt"],
        )
    terminal.say()
    terminal.say("What would be sent", style="bold")
    terminal.say()
    table.show()


def _show_money(terminal: Terminal, preview: RunPreview, arguments: "RunArguments") -> None:
    left = left_micros(preview.budgets, arguments.max_cost_usd)
    terminal.say()
    show_cost(terminal, preview.estimated_micros, left)
    terminal.say("Nothing was changed and nothing was spent.", style="dim")


def _dry_run_json(
    settings: Settings, database: str, preview: RunPreview, arguments: "RunArguments"
) -> dict[str, Any]:
    rows = {row["scene_id"]: row for row in _prompt_rows(preview)}
    scenes = preview.survey.scenes
    return {
        "project": preview.survey.project_key,
        "run_id": None,
        "dry_run": True,
        "provider": provider_names(settings, preview),
        "scenes": [
            {
                "scene_id": scene.ref.scene_id,
                "action": next_action_of(scene),
                "reason": scene.decision.reason,
                "estimated_cost_usd": expected_usd(scene),
                "prompt": rows.get(scene.ref.scene_id),
                "error": scene_error(scene),
            }
            for scene in scenes
        ],
        "totals": {
            "to_generate": sum(may_pay(scene) for scene in scenes),
            "estimated_cost_usd": float(usd(preview.estimated_micros)),
            "unknown_prices": unknown_prices(scenes),
        },
        **setting_json(settings, database, preview, arguments.max_cost_usd),
        "problems": [problem_json(problem) for problem in preview.problems],
        "notices": [problem_json(notice) for notice in preview.survey.document.notices],
    }


def _prompt_rows(preview: RunPreview) -> list[dict[str, Any]]:
    """The prompts table of the scenes that would be worked on, or of all where none would."""
    rows = [scene.prompt for scene in preview.survey.scenes if scene.prompt is not None]
    records: list[dict[str, Any]] = prompts_table(rows).to_dict(orient="records")  # type: ignore[assignment]  # keys are column names
    return records
