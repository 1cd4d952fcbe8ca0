"""How values are written for people, everywhere in the same way.

Belongs here: marks, amounts, durations and the few words of an outcome. Does not belong here:
layout.
"""

import re
from collections.abc import Mapping

from scene_pipeline.database.budgets import BudgetState, CostTotals
from scene_pipeline.pipeline.facts import dollars, usd
from scene_pipeline.pipeline.orders import FrameFacts, SceneOutcome

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MARKS = {
    "generated": "\u2713",
    "kept": "\u2713",
    "stale": "\u2248",
    "failed": "\u2717",
    "blocked": "\u2717",
    "ambiguous": "?",
    "invalid": "\u2717",
    "working": "\u203a",
    "waiting": "\u00b7",
}
_ASCII_MARKS = {
    "generated": "+",
    "kept": "=",
    "stale": "~",
    "failed": "x",
    "blocked": "x",
    "ambiguous": "?",
    "invalid": "x",
    "working": ">",
    "waiting": ".",
}
_STYLES = {
    "generated": "green",
    "kept": "dim",
    "current": "green",
    "published": "green",
    "stale": "yellow",
    "external": "yellow",
    "locked": "dim",
    "failed": "red",
    "blocked": "red",
    "ambiguous": "yellow",
    "invalid": "red",
}


def marks(encoding: str) -> Mapping[str, str]:
    """One character per status, as far as the terminal can show it."""
    return _MARKS if encoding.lower().startswith("utf") else _ASCII_MARKS


def style_of(status: str) -> str:
    """The colour of a status or state."""
    return _STYLES.get(status, "")


def dollars_of(micros: int) -> str:
    """Micro-dollars in US dollars."""
    return dollars(usd(micros))


def spent_in_words(costs: CostTotals) -> str:
    """What was spent, with its parts where not all of it was metered."""
    words = f"{dollars_of(costs.total_micros)} spent"
    if costs.total_micros == costs.metered_micros:
        return words
    parts = {
        "metered": costs.metered_micros,
        "estimated": costs.estimated_micros,
        "in doubt": costs.doubtful_micros,
    }
    named = [f"{dollars_of(amount)} {kind}" for kind, amount in parts.items() if amount]
    return f"{words} ({', '.join(named)})"


def budget_in_words(budget: BudgetState) -> str:
    """A cap, with what is spent, reserved and left once it was touched."""
    words = f"{budget.scope} {dollars_of(budget.cap_micros)}"
    if not budget.spent_micros and not budget.reserved_micros:
        return words
    reserved = f", {dollars_of(budget.reserved_micros)} reserved" if budget.reserved_micros else ""
    return (
        f"{words} ({dollars_of(budget.spent_micros)} spent{reserved},"
        f" {dollars_of(budget.left_micros)} left)"
    )


def duration(seconds: float) -> str:
    """A time span: "0.8 s", "2 min 5 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def asked_by(token: str) -> str:
    """What a generation answers: "document", "request 12", "backfill kpzhgbxd"."""
    name, _, rung = token.partition("#rung")
    kind, has_kind, rest = name.partition(":")
    if not name:
        words = "document"
    elif has_kind:
        words = kind if kind == "reuse" else f"{kind} {rest}"
    else:
        words = run_name(name) if _RUN_ID.fullmatch(name) else f"backfill {name}"
    return f"{words}, after {plural(int(rung), 'failed attempt')}" if rung.isdigit() else words


def run_name(run_id: str) -> str:
    """A Dagster run as its UI names it: "run 1a2b3c4d"."""
    return f"run {run_id[:8]}"


def plural(number: int, noun: str) -> str:
    """A number with its noun: "1 scene", "12 scenes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_words(number: int) -> str:
    """A number of bytes for people."""
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"


def frame_size(frame: FrameFacts) -> str:
    """Width and height in pixels."""
    return f"{frame.width}x{frame.height}"


def outcome_words(outcome: SceneOutcome) -> str:
    """An outcome in a few words for the live display."""
    words: list[str] = [outcome.status]
    if outcome.frame is not None:
        words += [f"v{outcome.frame.version}", frame_size(outcome.frame)]
    if outcome.cost_usd:
        words.append(dollars(outcome.cost_usd))
    if outcome.paid_by_run is not None:
        words.append(f"paid by {run_name(outcome.paid_by_run)}")
    if outcome.failure is not None:
        words.append(f"[{outcome.failure.code}]")
    return "  ".join(words)
