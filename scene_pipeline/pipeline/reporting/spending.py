"""Adding up what something took: attempts, seconds and money, and its columns.

Belongs here: the sums over a project's ledger, and what money is called in tables. Does not belong
here: which tables there are (`project_report`, `portfolio_report`), the measures
(`database.measures`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from scene_pipeline.database.measures import REJECTED_CODE, Money
from scene_pipeline.database.reporting import FailureLine, ProjectLines
from scene_pipeline.pipeline.facts import MICROS_PER_USD, usd
from scene_pipeline.pipeline.reporting.tables import Value

if TYPE_CHECKING:
    import pandas as pd

_MICRO = Decimal(1) / MICROS_PER_USD
_SUMMED = (
    "attempts", "is_current", "versions", "seconds", "metered_micros", "estimated_micros",
    "doubtful_micros", "used_micros",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spending:
    """What something took."""

    attempts: int
    failures: int
    rejections: int
    """Failures that a content check brought about."""
    frames: int
    """Scenes that have a frame now."""
    versions: int
    seconds: float
    """Of all answers together, though many were waited for at once."""
    money: Money


def money_columns(money: Money) -> dict[str, Decimal]:
    """Dollars by the names of the columns that every report has."""
    return {
        "cost_usd": usd(money.total_micros),
        "metered_usd": usd(money.metered_micros),
        "estimated_usd": usd(money.estimated_micros),
        "doubtful_usd": usd(money.doubtful_micros),
        "wasted_usd": usd(money.wasted_micros),
    }


def dollars_each(money: Money, number: int) -> Decimal | None:
    """All of it divided, to the micro-dollar; None where there is nothing to divide by."""
    if not number:
        return None
    return (usd(money.total_micros) / number).quantize(_MICRO, ROUND_HALF_EVEN)


def spent_columns(spending: Spending) -> dict[str, Value]:
    """The columns that a project's scenes and models share."""
    return {
        "versions": spending.versions,
        "attempts": spending.attempts,
        "failures": spending.failures,
        "seconds": spending.seconds,
        **money_columns(spending.money),
    }


def generations_of(lines: ProjectLines) -> "pd.DataFrame":
    """The ledger's lines, with the money of each kind in a column of its own."""
    import pandas as pd  # noqa: PLC0415  # a third of a second of imports, for tables only

    frame = pd.DataFrame(
        [asdict(line) for line in lines.generations],
        columns=[
            "scene_id", "provider", "model", "attempts", "seconds", "cost_micros", "cost_kind",
            "doubtful_micros", "versions", "is_current", "is_used",
        ],
    )  # fmt: skip
    whole = ["attempts", "cost_micros", "doubtful_micros", "versions"]
    frame = frame.astype(dict.fromkeys(whole, "int64") | {"seconds": "float64"})
    frame = frame.astype({"is_current": "bool", "is_used": "bool"})
    for kind in ("metered", "estimated"):
        frame[f"{kind}_micros"] = frame["cost_micros"].where(frame["cost_kind"] == kind, 0)
    frame["used_micros"] = frame["cost_micros"].where(frame["is_used"], 0)
    return frame


def sums_by(made: "pd.DataFrame", column: str) -> dict[str, dict[str, float]]:
    """What `spending_of` adds up, for each value of a column at once.

    Ten thousand scenes taken one by one would take pandas the better part of a minute.
    """
    sums = made.groupby(column)[list(_SUMMED)].sum()
    return {str(name): dict(zip(_SUMMED, row, strict=True)) for name, *row in sums.itertuples()}


def spending_of(made: "pd.DataFrame", failures: Sequence[FailureLine]) -> Spending:
    """Add up generations, as `generations_of` has them, and the failures that belong to them."""
    return spending_from({column: made[column].sum() for column in _SUMMED}, failures)


def spending_from(sums: Mapping[str, float], failures: Sequence[FailureLine]) -> Spending:
    """What was added up already, and the failures that belong to it; no sums are zeros."""
    whole = {column: int(sums.get(column, 0)) for column in _SUMMED}
    return Spending(
        attempts=whole["attempts"],
        failures=sum(line.failures for line in failures),
        rejections=sum(line.failures for line in failures if line.code == REJECTED_CODE),
        frames=whole["is_current"],
        versions=whole["versions"],
        seconds=round(float(sums.get("seconds", 0)), 3),
        money=Money(
            metered_micros=whole["metered_micros"],
            estimated_micros=whole["estimated_micros"],
            doubtful_micros=whole["doubtful_micros"],
            used_micros=whole["used_micros"],
        ),
    )


def seconds_quantile(made: "pd.DataFrame", share: float) -> float | None:
    """Of the seconds of those that were answered."""
    answered = made["seconds"].dropna()
    return None if answered.empty else round(float(answered.quantile(share)), 3)
