"""What a run is about to use and may spend, said before it begins.

Belongs here: the facts at the top of `run` and `run --dry-run`, as text and as JSON. Does not
belong here: what came of it (`cli.run_report`).
"""

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

from scene_pipeline.cli.estimates import expected_usd, next_action_of
from scene_pipeline.cli.tables import show_fields
from scene_pipeline.cli.terminal import Terminal, plain, problem_lines
from scene_pipeline.cli.wording import budget_in_words, dollars_of, plural
from scene_pipeline.database.budgets import BudgetState, CostTotals
from scene_pipeline.pipeline.facts import dollars, usd
from scene_pipeline.pipeline.planning.preview import (
    RunPreview,
    expected_micros,
    may_pay,
    working_scenes,
)
from scene_pipeline.settings import Settings
from scene_pipeline.storage.registry import build_store, parse_storage_url

_TO_DO = {
    "generate": "to generate",
    "reuse": "to reuse",
    "resume": "to finish",
    "keep": "kept",
    "republish": "to write back",
    "heal": "to heal",
    "stale": "stale",
    "failed": "failed",
    "blocked": "blocked",
    "invalid": "invalid",
}


def show_header(
    terminal: Terminal,
    settings: Settings,
    database: str,
    preview: RunPreview,
    max_cost_usd: Decimal | None,
) -> None:
    """Say which project, provider, model, storage, database and caps; nothing with `--json`."""
    title = preview.survey.document.title
    key = preview.survey.project_key
    terminal.say(plain(f"{title}  ({key})" if title else key), style="bold")
    show_fields(
        terminal,
        {
            "provider": providers_in_words(settings, preview),
            "storage": storage_in_words(settings),
            "database": database,
            "caps": _caps_in_words(preview, max_cost_usd),
            "to do": _to_do_in_words(preview),
        },
    )
    for line in problem_lines(preview.problems):
        terminal.say(line, style="yellow")
    for notice in preview.survey.document.notices[:3]:
        terminal.say(plain(f"  {notice.message}"), style="dim")
    terminal.say()


def providers_in_words(settings: Settings, preview: RunPreview) -> str:
    """Provider and model: of the scenes to work on, else of all, else the settings' default."""
    pairs = _providers(preview)
    if not pairs:
        return settings.provider_name
    words = [f"{provider}, model {model}" for provider, model in pairs]
    return "; ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def provider_names(settings: Settings, preview: RunPreview) -> str:
    """The provider's name, or several with commas."""
    names = dict.fromkeys(provider for provider, _ in _providers(preview))
    return ", ".join(names) or settings.provider_name


def storage_in_words(settings: Settings) -> str:
    """Where frames go."""
    if parse_storage_url(settings.resolved_storage_url).kind == "database":
        return "rows of the database"
    store = build_store(settings)
    try:
        return store.description
    finally:
        store.close()


def run_cap_usd(preview: RunPreview, max_cost_usd: Decimal | None) -> Decimal:
    """The most that this run can spend: its own cap or what is left of the others."""
    left = [usd(budget.left_micros) for budget in preview.budgets]
    return min([*left, *([max_cost_usd] if max_cost_usd is not None else [])])


def setting_json(
    settings: Settings, database: str, preview: RunPreview, max_cost_usd: Decimal | None
) -> dict[str, Any]:
    """The same facts for programs."""
    return {
        "models": sorted({model for _, model in _providers(preview)}),
        "storage": storage_in_words(settings),
        "database": database,
        "caps_usd": {
            "run": None if max_cost_usd is None else float(max_cost_usd),
            **{budget.scope: float(usd(budget.cap_micros)) for budget in preview.budgets},
        },
        "left_usd": {budget.scope: float(usd(budget.left_micros)) for budget in preview.budgets},
        "budgets": [budget_json(budget) for budget in preview.budgets],
        "prices_as_of": [day.isoformat() for day in _price_days(preview)],
        "spent_usd": costs_json(preview.costs),
    }


def budget_json(budget: BudgetState) -> dict[str, Any]:
    """A cap and what became of it, for programs."""
    return {
        "scope": budget.scope,
        "period": budget.period,
        "cap_usd": float(usd(budget.cap_micros)),
        "spent_usd": float(usd(budget.spent_micros)),
        "reserved_usd": float(usd(budget.reserved_micros)),
        "left_usd": float(usd(budget.left_micros)),
    }


def costs_json(costs: CostTotals) -> dict[str, float]:
    """What was spent on a project, by how well it is known."""
    return {
        "metered": float(usd(costs.metered_micros)),
        "estimated": float(usd(costs.estimated_micros)),
        "in_doubt": float(usd(costs.doubtful_micros)),
    }


def _providers(preview: RunPreview) -> list[tuple[str, str]]:
    working = [scene for scene in working_scenes(preview.survey) if scene.request]
    scenes = working or [scene for scene in preview.survey.scenes if scene.request]
    return list(
        dict.fromkeys(
            (scene.request.provider, scene.request.endpoint) for scene in scenes if scene.request
        )
    )


def _caps_in_words(preview: RunPreview, max_cost_usd: Decimal | None) -> str:
    run = "none" if max_cost_usd is None else dollars(max_cost_usd)
    return ", ".join([f"run {run}", *(budget_in_words(budget) for budget in preview.budgets)])


def _to_do_in_words(preview: RunPreview) -> str:
    counts = Counter(next_action_of(scene) for scene in preview.survey.scenes)
    words = [f"{number} {_TO_DO[action]}" for action, number in counts.items()]
    text = f"{plural(len(preview.survey.scenes), 'scene')}: {', '.join(words)}"
    paying = [scene for scene in preview.survey.scenes if may_pay(scene)]
    if not paying:
        return text
    unknown = sum(expected_usd(scene) is None for scene in paying)
    cost = sum(expected_micros(scene) for scene in paying)
    about = "free" if not cost else f"about {dollars_of(cost)}"
    if unknown:
        about = f"{plural(unknown, 'price')} unknown" + (f", the rest {about}" if cost else "")
    days = _price_days(preview)
    if cost and days:
        about += f" at prices of {' to '.join(day.isoformat() for day in days)}"
    return f"{text}; {about}"


def _price_days(preview: RunPreview) -> list[date]:
    """The days of the oldest and the newest price that the next run would pay by."""
    days = {
        scene.next_estimate.as_of
        for scene in preview.survey.scenes
        if may_pay(scene) and scene.next_estimate and scene.next_estimate.as_of
    }
    return sorted({min(days), max(days)}) if days else []
