"""How the ledger is measured: seconds, money, rejections, and whose pictures are shown.

Belongs here: every measure that more than one statement takes, so that it has one meaning. Does not
belong here: the statements (`reporting`, `reporting_all`, `frame_history`), caps (`budgets`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, LiteralString

from scene_pipeline.database.budgets import CostTotals

REJECTED_CODE = "content_rejected"
"""The failure of a picture, or of a prompt, that a content check objected to."""

# A picture that was refused after it was paid for is recorded, and tells of itself by its row.
REJECTED_PICTURE: LiteralString = (
    "g.state = 'failed' AND g.flagged_input = 'output' AND g.recorded_at IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Money(CostTotals):
    """What something has cost, and how much of that is shown; in micro-dollars."""

    used_micros: int = 0
    """Spent on pictures that are shown."""

    @property
    def wasted_micros(self) -> int:
        """Spent on what is not shown: other versions, failures, doubtful payments."""
        return self.total_micros - self.used_micros

    def __add__(self, other: "Money") -> "Money":
        """Both together."""
        names = [field.name for field in fields(Money)]
        return Money(*(getattr(self, name) + getattr(other, name) for name in names))


def with_money(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the database whose columns of `MONEY` are one value, `money`."""
    names = [field.name for field in fields(Money)]
    others = {name: value for name, value in row.items() if name not in names}
    return {**others, "money": Money(*(row[name] for name in names))}


MONEY: LiteralString = """
    coalesce(sum(g.cost_micros) FILTER (WHERE g.cost_kind = 'metered'), 0)::bigint
        AS metered_micros,
    coalesce(sum(g.cost_micros) FILTER (WHERE g.cost_kind = 'estimated'), 0)::bigint
        AS estimated_micros,
    coalesce(sum(g.doubtful_micros), 0)::bigint AS doubtful_micros,
    coalesce(sum(g.cost_micros) FILTER (WHERE u.generation_id IS NOT NULL), 0)::bigint
        AS used_micros"""
"""Sums of generations `g`, of which those of `u` are shown."""


def answer_seconds(generation: LiteralString) -> LiteralString:
    """Seconds from the request to the provider's answer; NULL where there was none.

    From the moment at which it was sent: where the answer itself is the acceptance, nothing lies
    between the two. A second request of the same row keeps the old answer's moment until it has one
    of its own.

    Args:
        generation: Alias of the generation.
    """
    return (
        f"CASE WHEN {generation}.completed_at >= {generation}.submitting_at"
        f" THEN extract(epoch FROM {generation}.completed_at - {generation}.submitting_at)::float8"
        " END"
    )


def used_generations(made: LiteralString, kept: LiteralString) -> LiteralString:
    """Whose picture is a scene's frame: made for it, or kept for one that would be bought again.

    Args:
        made: Condition on the current version `i`.
        kept: Condition on the older version `o` whose picture stands in.
    """
    return f"""
    SELECT i.generation_id FROM scene_images i
    JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id
    WHERE i.is_current AND s.retired_at IS NULL AND {made}
    UNION
    SELECT o.generation_id FROM scene_images o
    JOIN generations r ON r.reused_image_id = o.id
    JOIN scene_images i ON i.generation_id = r.id AND i.is_current
    JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id
    WHERE s.retired_at IS NULL AND {kept}
    """
