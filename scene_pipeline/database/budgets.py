"""Caps, reservations and spending: the one place that permits a payment to fit a budget.

A payment reserves its estimate in three budgets at once (run, project, day), in a fixed order so
that two workers never wait for each other in a circle. Settling turns the reservation into
spending; releasing gives it back. Amounts are micro-dollars (1 USD = 1,000,000).
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from scene_pipeline.database.rows import Connection

Scope = Literal["run", "project", "day"]
_LOCK_ORDER = {"run": 0, "project": 1, "day": 2}
"""Rows are always locked in this order, so that two workers never wait in a circle."""


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap as the settings or the command give it; a row marked custom in the database wins."""

    scope: Scope
    key: str
    cap_micros: int


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What a budget holds."""

    scope: Scope
    key: str
    period: str
    cap_micros: int
    reserved_micros: int
    spent_micros: int

    @property
    def left_micros(self) -> int:
        """What may still be reserved; never negative."""
        return max(0, self.cap_micros - self.reserved_micros - self.spent_micros)


_PERIOD = (
    "CASE %(scope)s WHEN 'day' THEN to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') ELSE 'all' END"
)

_RESERVE = f"""
INSERT INTO budgets AS b (scope, key, period, cap_micros, reserved_micros)
VALUES (%(scope)s, %(key)s, {_PERIOD}, %(cap)s, 0)
ON CONFLICT (scope, key, period) DO UPDATE
    SET cap_micros = CASE WHEN b.is_custom THEN b.cap_micros ELSE excluded.cap_micros END
RETURNING scope, key, period, cap_micros, reserved_micros, spent_micros
"""


async def reserve(
    conn: Connection, generation_id: UUID, amount_micros: int, caps: list[Cap]
) -> BudgetState | None:
    """Reserve an amount in every budget, or in none.

    Must run in a transaction that the caller rolls back when a budget is returned.

    Returns:
        None when the amount is reserved; else the first budget that it does not fit.
    """
    for cap in sorted(caps, key=lambda cap: _LOCK_ORDER[cap.scope]):
        cursor = await conn.execute(
            _RESERVE, {"scope": cap.scope, "key": cap.key, "cap": cap.cap_micros}
        )
        row = await cursor.fetchone()
        if row is None:
            message = "INSERT ... RETURNING gave no row"
            raise AssertionError(message)
        state = BudgetState(**row)
        if amount_micros > state.left_micros:
            return state
        place = (state.scope, state.key, state.period)
        await conn.execute(
            "UPDATE budgets SET reserved_micros = reserved_micros + %s"
            " WHERE scope = %s AND key = %s AND period = %s",
            (amount_micros, *place),
        )
        await conn.execute(
            "INSERT INTO budget_reservations (generation_id, scope, key, period, amount_micros)"
            " VALUES (%s, %s, %s, %s, %s)",
            (generation_id, *place, amount_micros),
        )
    return None


async def settle(conn: Connection, generation_id: UUID, cost_micros: int) -> None:
    """Turn a generation's reservation into spending of what it really cost; 0 releases it.

    Without a reservation (already settled) nothing happens.
    """
    cursor = await conn.execute(
        "DELETE FROM budget_reservations WHERE generation_id = %s"
        " RETURNING scope, key, period, amount_micros",
        (generation_id,),
    )
    reservations = sorted(await cursor.fetchall(), key=lambda row: _LOCK_ORDER[row["scope"]])
    for row in reservations:
        await conn.execute(
            "UPDATE budgets SET reserved_micros = reserved_micros - %(amount_micros)s,"
            " spent_micros = spent_micros + %(cost)s"
            " WHERE scope = %(scope)s AND key = %(key)s AND period = %(period)s",
            {**row, "cost": cost_micros},
        )


async def read_budgets(conn: Connection, caps: list[Cap]) -> list[BudgetState]:
    """The state of each cap's budget; one that was never touched is reported as empty."""
    states = []
    for cap in caps:
        cursor = await conn.execute(
            "SELECT %(scope)s::text AS scope, %(key)s::text AS key, p.period,"
            " CASE WHEN b.is_custom THEN b.cap_micros ELSE %(cap)s END AS cap_micros,"
            " coalesce(b.reserved_micros, 0) AS reserved_micros,"
            " coalesce(b.spent_micros, 0) AS spent_micros"
            f" FROM (SELECT {_PERIOD} AS period) p LEFT JOIN budgets b"
            " ON b.scope = %(scope)s AND b.key = %(key)s AND b.period = p.period",
            {"scope": cap.scope, "key": cap.key, "cap": cap.cap_micros},
        )
        states.extend([BudgetState(**row) for row in await cursor.fetchall()])
    return states


@dataclass(frozen=True, slots=True)
class CostTotals:
    """What a project has cost, by how well it is known; in micro-dollars."""

    metered_micros: int = 0
    """From units that the provider metered, at the price frozen with each request."""
    estimated_micros: int = 0
    """Charged, or possibly so, without a meter."""
    doubtful_micros: int = 0
    """For lost requests that were followed by another: counted, never confirmed."""

    @property
    def total_micros(self) -> int:
        """All of it."""
        return self.metered_micros + self.estimated_micros + self.doubtful_micros


async def cost_totals(conn: Connection, project_id: UUID) -> CostTotals:
    """Everything that was spent on a project, scenes that are gone included."""
    cursor = await conn.execute(
        "SELECT coalesce(sum(cost_micros) FILTER (WHERE cost_kind = 'metered'), 0)::bigint"
        " AS metered_micros,"
        " coalesce(sum(cost_micros) FILTER (WHERE cost_kind = 'estimated'), 0)::bigint"
        " AS estimated_micros, coalesce(sum(doubtful_micros), 0)::bigint AS doubtful_micros"
        " FROM generations WHERE project_id = %s",
        (project_id,),
    )
    row = await cursor.fetchone()
    return CostTotals(**row) if row else CostTotals()
