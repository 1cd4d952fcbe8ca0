"""What scenes would cost and why they cannot be made, the same in every preview.

Belongs here: prices and refusals of single scenes, and the sentence about the caps. Does not belong
here: the tables around them (`dry_run`, `plan`, `regenerate`).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import dollars_of
from scene_pipeline.database.budgets import BudgetState
from scene_pipeline.errors import ANOTHER, named
from scene_pipeline.pipeline.facts import micros, usd
from scene_pipeline.pipeline.planning.preview import may_pay
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.providers.prices import Estimate


def estimate_usd(estimate: Estimate | None) -> float | None:
    """An estimate in US dollars for programs; None where the price is not known."""
    if estimate is None or not estimate.is_known:
        return None
    return float(usd(estimate.amount_micros))


def estimate_in_words(estimate: Estimate | None) -> str:
    """An estimate for people."""
    if estimate is None or not estimate.is_known:
        return "unknown"
    return dollars_of(estimate.amount_micros) if estimate.amount_micros else "free"


def expected_usd(scene: SurveyedScene) -> float | None:
    """What the next run would pay for a scene; 0 where it pays nothing, None where unknown."""
    return estimate_usd(scene.next_estimate) if may_pay(scene) else 0.0


def expected_in_words(scene: SurveyedScene) -> str:
    """The same for people; empty where nothing is paid."""
    return estimate_in_words(scene.next_estimate) if may_pay(scene) else ""


def next_action_of(scene: SurveyedScene) -> str:
    """What the next run does with a scene; "blocked" where its reference pictures forbid it."""
    return scene.decision.action if scene.blocked is None else "blocked"


def unknown_prices(scenes: Iterable[SurveyedScene]) -> int:
    """For how many scenes the next run would pay a price that is not known."""
    return sum(expected_usd(scene) is None for scene in scenes)


def left_micros(budgets: Iterable[BudgetState], max_cost_usd: Decimal | None = None) -> int:
    """The most that may still be spent under every cap."""
    caps = [] if max_cost_usd is None else [micros(max_cost_usd)]
    return min([*caps, *(budget.left_micros for budget in budgets)])


def show_cost(terminal: Terminal, cost_micros: int, left: int) -> None:
    """Say what would be spent, of how much, and that it is too much where it is."""
    cost = f"About {dollars_of(cost_micros)}" if cost_micros else "Nothing"
    terminal.say(f"{cost} would be spent, of {dollars_of(left)} that may be.", style="bold")
    if cost_micros > left:
        terminal.say(
            plain("The caps would stop the run before its last scene. Raise them first."),
            style="yellow",
        )


def scene_error(scene: SurveyedScene) -> dict[str, Any] | None:
    """Why a scene cannot be made, for programs; None where it can."""
    state = scene.state
    if scene.decision.action == "invalid":
        return {
            "code": state.problem_code or "scene_invalid",
            "message": state.problem_message or "The scene is not in the document.",
            "next_action": "Correct the scene in the document and import it again.",
        }
    if scene.blocked is not None:
        return {
            "code": scene.blocked.code,
            "message": scene.blocked.message,
            "next_action": scene.blocked.next_action,
        }
    if scene.decision.action == "failed":
        return {
            "code": state.error_code or "failed",
            "message": state.error_message or "The last attempt failed.",
            "next_action": state.error_next_action
            or named(
                f"Ask for another picture with {ANOTHER}.", scene.ref.project_key, state.scene_id
            ),
        }
    return None
