"""Caps: never overrun by any number of workers, never negative, and each day has its own."""

import asyncio
import random
import threading
from collections import Counter
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from scene_pipeline.database import budgets, generations, ledger
from scene_pipeline.database.budgets import BudgetState, Cap
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film

WORKERS = 8
SCENES = 50
PRICE_MICROS = 3_000
CAP_FOR_TEN = Decimal("0.0329")
"""Ten requests of 0.003 USD, and not quite an eleventh."""


def with_settings(studio: Studio, **changes: Any) -> Studio:
    return Studio(studio.settings.model_copy(update=changes), studio.database_url)


def plan_generations(studio: Studio, count: int) -> list[UUID]:
    """Generations that wait for their permission to pay, one per scene of a film."""
    studio.bring(film([f"Scene number {number}" for number in range(count)]))
    blocked = with_settings(studio, project_cap_usd=Decimal(0)).run()
    assert set(blocked.statuses.values()) == {"blocked"}
    studio.sql("DELETE FROM budgets")
    return [row["id"] for row in studio.sql("SELECT id FROM generations ORDER BY seq")]


async def connect(studio: Studio) -> Connection:
    return await psycopg.AsyncConnection.connect(
        studio.database_url, autocommit=True, row_factory=dict_row
    )


def caps_of(generation: Generation, project: int, day: int) -> list[Cap]:
    return [Cap("project", str(generation.project_id), project), Cap("day", "all", day)]


def test_eight_workers_and_fifty_scenes_share_a_cap_for_ten(fal_studio: Studio) -> None:
    waiting = plan_generations(fal_studio, SCENES)
    permitted: Counter[UUID] = Counter()
    refused: list[BudgetState] = []

    async def worker(number: int, start: asyncio.Barrier) -> None:
        conn = await connect(fal_studio)
        order = waiting[:]
        random.Random(number).shuffle(order)  # noqa: S311  # not a secret
        await start.wait()
        for generation_id in order:
            generation = await generations.get_generation(conn, generation_id)
            if generation.state != "planned":
                continue
            try:
                answer = await ledger.permit_payment(
                    conn, generation, caps_of(generation, 10 * PRICE_MICROS + 2_900, 10**9), "run"
                )
            except LedgerError:
                continue  # another worker was a moment faster
            if isinstance(answer, Generation):
                permitted[answer.id] += 1
            else:
                refused.append(answer.budget)
        await conn.close()

    async def race() -> None:
        start = asyncio.Barrier(WORKERS)
        await asyncio.gather(*(worker(number, start) for number in range(WORKERS)))

    asyncio.run(race())

    assert len(permitted) == 10
    assert set(permitted.values()) == {1}
    assert refused
    assert {budget.scope for budget in refused} == {"project"}
    assert all(budget.left_micros < PRICE_MICROS for budget in refused)
    for row in fal_studio.sql("SELECT * FROM budgets"):
        assert (row["reserved_micros"], row["spent_micros"]) == (10 * PRICE_MICROS, 0)


def test_a_run_of_fifty_scenes_accepts_what_its_cap_covers(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film([f"Scene number {number}" for number in range(SCENES)]))
    studio = with_settings(fal_studio, project_cap_usd=CAP_FOR_TEN, generation_concurrency=WORKERS)

    run = studio.run()

    assert Counter(run.statuses.values()) == {"generated": 10, "blocked": SCENES - 10}
    assert len(fal.meter.accepted) == 10
    [project] = studio.sql("SELECT * FROM budgets WHERE scope = 'project'")
    assert (project["reserved_micros"], project["spent_micros"]) == (0, 10 * PRICE_MICROS)


@pytest.mark.long
def test_eight_runs_of_fifty_scenes_share_the_cap_of_the_day(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    studio = with_settings(fal_studio, day_cap_usd=CAP_FOR_TEN)
    prompts = [f"Scene number {number}" for number in range(SCENES)]
    keys = [f"film-{number}" for number in range(WORKERS)]
    for key in keys:
        studio.bring(film([f"{key}: {prompt}" for prompt in prompts], key=key), origin=key)
    runs: list[Run] = []

    def work(key: str) -> None:
        runs.append(studio.run(*(f"scene_{n}" for n in range(1, SCENES + 1)), key=key))

    threads = [threading.Thread(target=work, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)

    statuses = Counter(status for run in runs for status in run.statuses.values())
    assert statuses == {"generated": 10, "blocked": WORKERS * SCENES - 10}
    assert len(fal.meter.accepted) == 10
    [day] = studio.sql("SELECT * FROM budgets WHERE scope = 'day'")
    assert (day["reserved_micros"], day["spent_micros"]) == (0, 10 * PRICE_MICROS)


@pytest.mark.parametrize("seed", range(3))
def test_balances_add_up_after_any_sequence_of_payments(seed: int, fal_studio: Studio) -> None:
    """A walk against a plain model: reservations and spending, each never below zero."""
    waiting = plan_generations(fal_studio, 6)
    chance = random.Random(seed)  # noqa: S311  # not a secret
    project_cap, day_cap = 12_000, 20_000
    reserved: dict[UUID, int] = {}
    spent = 0

    async def walk() -> None:
        nonlocal spent
        conn = await connect(fal_studio)
        for _ in range(120):
            generation = await generations.get_generation(conn, chance.choice(waiting))
            if generation.id in reserved:
                # What is metered may also be more than was estimated.
                cost = chance.choice([0, 1, reserved[generation.id], 2 * reserved[generation.id]])
                async with conn.transaction():
                    await budgets.settle(conn, generation.id, cost)
                    await budgets.settle(conn, generation.id, cost)  # a repetition does nothing
                del reserved[generation.id]
                spent += cost
            else:
                amount = chance.choice([0, 1, 2_500, 3_000, 9_000])
                async with conn.transaction() as transaction:
                    refused = await budgets.reserve(
                        conn, generation.id, amount, caps_of(generation, project_cap, day_cap)
                    )
                    if refused is not None:
                        transaction.force_rollback = True
                left = min(project_cap, day_cap) - spent - sum(reserved.values())
                assert (refused is None) == (amount <= max(0, left))
                if refused is None:
                    reserved[generation.id] = amount
            await check(conn, generation)
        await conn.close()

    async def check(conn: Connection, generation: Generation) -> None:
        for state in await budgets.read_budgets(conn, caps_of(generation, project_cap, day_cap)):
            assert (state.reserved_micros, state.spent_micros) == (sum(reserved.values()), spent)
            assert min(state.reserved_micros, state.spent_micros, state.left_micros) >= 0

    asyncio.run(walk())


def test_a_balance_cannot_be_made_negative(fal_studio: Studio) -> None:
    plan_generations(fal_studio, 1)
    fal_studio.run()

    for column in ("reserved_micros", "spent_micros", "cap_micros"):
        with pytest.raises(psycopg.errors.CheckViolation):
            fal_studio.sql(f"UPDATE budgets SET {column} = -1")  # noqa: S608  # three names


def test_a_new_day_has_its_own_budget_and_settles_none_of_the_old_one(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal.api.is_down = True
    studio = with_settings(fal_studio, day_cap_usd=Decimal("0.0035"), ambiguous_settle_seconds=0.2)
    studio.bring(film(["A lighthouse [[fault:drop_after_accept*1]]", "A calm sea"]))
    assert studio.run("scene_1").statuses == {"scene_1": "ambiguous"}
    assert studio.run("scene_2").statuses == {"scene_2": "blocked"}
    _let_a_day_pass(studio)

    tomorrow = studio.run("scene_2")
    fal.api.is_down = False
    resumed = studio.run("scene_1")

    assert tomorrow.statuses == {"scene_2": "generated"}
    assert resumed.statuses == {"scene_1": "generated"}, "its money was reserved the day before"
    days = studio.sql("SELECT * FROM budgets WHERE scope = 'day' ORDER BY period")
    assert [(day["reserved_micros"], day["spent_micros"]) for day in days] == [
        (0, PRICE_MICROS),
        (0, PRICE_MICROS),
    ]
    assert_invariants(studio)


def _let_a_day_pass(studio: Studio) -> None:
    """Make what was booked today yesterday's."""
    studio.sql(
        "INSERT INTO budgets (scope, key, period, cap_micros, reserved_micros, spent_micros)"
        " SELECT scope, key, to_char(period::date - 1, 'YYYY-MM-DD'), cap_micros,"
        " reserved_micros, spent_micros FROM budgets WHERE scope = 'day'"
    )
    studio.sql(
        "UPDATE budget_reservations SET period = to_char(period::date - 1, 'YYYY-MM-DD')"
        " WHERE scope = 'day'"
    )
    studio.sql(
        "DELETE FROM budgets b WHERE scope = 'day' AND period > (SELECT min(period) FROM budgets m"
        " WHERE m.scope = 'day')"
    )


def test_an_untouched_budget_is_told_with_its_period(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))

    async def work(services: Services) -> list[BudgetState]:
        async with services.pool.connection() as conn:
            return await budgets.read_budgets(conn, [Cap("day", "all", 7), Cap("run", "r", 8)])

    day, run = studio.do(work)
    [today] = studio.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day")
    assert (day.period, day.left_micros) == (today["day"], 7)
    assert (run.period, run.left_micros) == ("all", 8)
