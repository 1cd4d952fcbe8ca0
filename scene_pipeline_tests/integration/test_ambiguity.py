"""A request whose answer was lost and that cannot be looked up: waited for, decided, paid again.

Time is the database's: a request is made old by moving `submitting_at`, never by waiting.
"""

import asyncio
import signal
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from scene_pipeline.database.ambiguity import Verdict
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import LedgerError, ScenePipelineError, UsageError
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.resolve import Resolution, resolve_lost_request
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_crashes import start_worker

LOST = "A lighthouse [[fault:drop_after_accept*1]]"
LOST_TWICE = "A lighthouse [[fault:drop_after_accept*2]]"
PRICE_MICROS = 3_000


def with_settings(studio: Studio, **changes: Any) -> Studio:
    return Studio(studio.settings.model_copy(update=changes), studio.database_url)


@pytest.fixture
def fal_studio(fal_studio: Studio) -> Studio:
    """One that believes soon that a history cannot be read."""
    return with_settings(fal_studio, ambiguous_settle_seconds=0.2)


def lose_a_request(fal: FalStandIn, studio: Studio, prompt: str = LOST) -> Run:
    """Leave scene_1 submitting, paid, and nowhere to be looked up."""
    fal.api.is_down = True
    studio.bring(film([prompt]))
    return studio.run()


def age(studio: Studio, minutes: float) -> None:
    studio.sql(
        "UPDATE generations SET submitting_at = now() - make_interval(secs => %s * 60)"
        " WHERE state = 'submitting'",
        minutes,
    )


def resolve(studio: Studio, verdict: Verdict, scene_id: str = "scene_1") -> Resolution:
    async def work(services: Services) -> Resolution:
        async with services.pool.connection() as conn:
            return await resolve_lost_request(
                conn, services.database_url, "film", scene_id, verdict, decided_by="a test"
            )

    return studio.do(work)


def failure_of(run: Run) -> Failure:
    failure = run.outcomes["scene_1"].failure
    assert failure is not None
    return failure


def row(studio: Studio) -> dict[str, Any]:
    [found] = studio.sql("SELECT * FROM generations ORDER BY seq DESC LIMIT 1")
    return found


def events(studio: Studio, kind: str) -> list[dict[str, Any]]:
    return [
        found["data"]
        for found in studio.sql("SELECT data FROM pipeline_events WHERE kind = %s", kind)
    ]


def balance(studio: Studio, scope: str = "project") -> tuple[int, int]:
    """Reserved and spent micro-dollars."""
    [found] = studio.sql(
        "SELECT reserved_micros, spent_micros FROM budgets WHERE scope = %s", scope
    )
    return found["reserved_micros"], found["spent_micros"]


def state_of(studio: Studio) -> str:
    [found] = studio.sql("SELECT state FROM scene_status WHERE scene_id = 'scene_1'")
    return str(found["state"])


def test_while_it_waits_it_says_since_when_and_until_when(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    lose_a_request(fal, fal_studio)
    age(fal_studio, 10)
    [times] = fal_studio.sql(
        "SELECT to_char(submitting_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS sent,"
        " to_char((submitting_at + interval '30 minutes') AT TIME ZONE 'UTC',"
        " 'YYYY-MM-DD HH24:MI') AS until FROM generations"
    )

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "ambiguous"}
    failure = failure_of(run)
    assert failure.code == "submit_ambiguous"
    assert f"sent at {times['sent']} UTC" in failure.message
    assert f"until {times['until']} UTC" in failure.next_action
    assert "scene-pipeline resolve film scene_1" in failure.next_action
    assert (row(fal_studio)["state"], state_of(fal_studio)) == ("submitting", "ambiguous")
    assert balance(fal_studio) == (PRICE_MICROS, 0)


def test_after_the_wait_a_person_is_asked_by_every_run_and_nothing_is_paid(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    lose_a_request(fal, fal_studio)
    age(fal_studio, 31)

    runs = [fal_studio.run() for _ in range(2)]

    for run in runs:
        assert run.statuses == {"scene_1": "ambiguous"}
        assert failure_of(run).next_action.startswith("A person must decide")
        assert failure_of(run).next_action.endswith("--pay-again | --not-charged | --abandon")
    assert len(fal.meter.accepted) == 1
    assert state_of(fal_studio) == "ambiguous"


def test_the_wait_is_a_setting(fal: FalStandIn, fal_studio: Studio) -> None:
    studio = with_settings(fal_studio, ambiguous_wait_minutes=60.0)
    lose_a_request(fal, studio)
    age(studio, 31)

    assert "until" in failure_of(studio.run()).next_action


def test_the_policy_pays_again_once_and_counts_both(fal: FalStandIn, fal_studio: Studio) -> None:
    studio = with_settings(fal_studio, on_ambiguous="pay_again")
    lose_a_request(fal, studio)
    age(studio, 29)
    early = studio.run()
    age(studio, 31)

    late = studio.run()

    assert early.statuses == {"scene_1": "ambiguous"}
    assert "SCENE_PIPELINE_ON_AMBIGUOUS=pay_again" in failure_of(early).next_action
    assert late.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 2
    assert balance(studio) == (0, 2 * PRICE_MICROS)
    assert balance(studio, "day") == (0, 2 * PRICE_MICROS)
    generation = row(studio)
    assert (generation["submit_count"], generation["doubtful_submits"]) == (2, 1)
    assert (generation["cost_micros"], generation["doubtful_micros"]) == (3_000, 3_000)
    [verdict] = events(studio, "submit_resolved")
    assert (verdict["verdict"], verdict["decided_by"]) == ("pay_again", "policy")
    assert events(studio, "generation_paid_again") == [{"counted_as_spent_micros": PRICE_MICROS}]
    assert_invariants(studio)


def test_the_policy_never_pays_a_third_time(fal: FalStandIn, fal_studio: Studio) -> None:
    studio = with_settings(fal_studio, on_ambiguous="pay_again")
    lose_a_request(fal, studio, LOST_TWICE)
    age(studio, 31)
    second = studio.run()
    age(studio, 31)

    third = studio.run()

    assert second.statuses == third.statuses == {"scene_1": "ambiguous"}
    assert failure_of(third).next_action.startswith("A person must decide")
    assert len(fal.meter.accepted) == 2
    assert balance(studio) == (PRICE_MICROS, PRICE_MICROS)


def test_a_doubt_never_overruns_a_cap(fal: FalStandIn, fal_studio: Studio) -> None:
    studio = with_settings(fal_studio, on_ambiguous="pay_again", project_cap_usd=Decimal("0.005"))
    lose_a_request(fal, studio)
    age(studio, 31)

    blocked = studio.run()

    assert blocked.statuses == {"scene_1": "blocked"}
    assert len(fal.meter.accepted) == 1
    assert (row(studio)["state"], state_of(studio)) == ("submitting", "blocked")
    assert balance(studio) == (PRICE_MICROS, 0), "refused as a whole: nothing was booked"
    raised = with_settings(studio, project_cap_usd=Decimal(1))
    assert raised.run().statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 2
    assert_invariants(studio)


def test_a_person_may_have_it_paid_again(fal: FalStandIn, fal_studio: Studio) -> None:
    lose_a_request(fal, fal_studio)

    first = resolve(fal_studio, "pay_again")
    again = resolve(fal_studio, "pay_again")
    run = fal_studio.run()

    assert (first.state, first.amount_micros) == ("submitting", PRICE_MICROS)
    assert first == again
    assert run.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 2
    assert balance(fal_studio) == (0, 2 * PRICE_MICROS)
    [verdict] = events(fal_studio, "submit_resolved")
    assert (verdict["verdict"], verdict["decided_by"]) == ("pay_again", "a test")
    assert_invariants(fal_studio)


def test_what_nobody_wants_any_more_is_not_paid_again_but_given_up(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    lose_a_request(fal, fal_studio)
    resolve(fal_studio, "pay_again")
    fal_studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A storm at sea")

    doubtful = fal_studio.run()
    resolve(fal_studio, "abandon")
    made = fal_studio.run()

    assert doubtful.statuses == {"scene_1": "ambiguous"}
    failure = failure_of(doubtful)
    assert failure.code == "submit_ambiguous"
    assert "may have been paid" in failure.message
    assert "resolve film scene_1 --abandon" in failure.next_action
    assert made.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 2
    assert balance(fal_studio) == (0, 2 * PRICE_MICROS)
    assert_invariants(fal_studio)


def test_one_decision_is_one_more_submit(fal: FalStandIn, fal_studio: Studio) -> None:
    lose_a_request(fal, fal_studio, LOST_TWICE)
    resolve(fal_studio, "pay_again")

    second = fal_studio.run()
    third = fal_studio.run()

    assert second.statuses == third.statuses == {"scene_1": "ambiguous"}
    assert len(fal.meter.accepted) == 2
    resolve(fal_studio, "pay_again")
    assert fal_studio.run().statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 3
    assert balance(fal_studio) == (0, 3 * PRICE_MICROS)
    assert_invariants(fal_studio)


def test_what_the_history_shows_after_all_is_not_paid_again(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    lose_a_request(fal, fal_studio)
    resolve(fal_studio, "pay_again")
    fal.api.is_down = False

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 1
    generation = row(fal_studio)
    assert (generation["submit_count"], generation["max_submits"]) == (1, 1)
    assert balance(fal_studio) == (0, PRICE_MICROS)
    assert_invariants(fal_studio)


def test_the_first_of_two_lost_requests_is_found_too(fal: FalStandIn, fal_studio: Studio) -> None:
    studio = with_settings(fal_studio, on_ambiguous="pay_again")
    lose_a_request(fal, studio)
    studio.sql("UPDATE generations SET submitting_at = submitting_at - interval '31 minutes'")
    fal.faults.add("drop_before_accept")
    studio.run()
    studio.sql("UPDATE generations SET submitting_at = now() + interval '1 hour'")

    fal.api.is_down = False
    found = studio.run()

    assert found.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 1
    assert balance(studio) == (0, 2 * PRICE_MICROS), "a doubt stays counted"
    assert_invariants(studio)


def test_a_person_may_know_that_nothing_was_charged(fal: FalStandIn, fal_studio: Studio) -> None:
    fal.api.is_down = True
    fal_studio.bring(film(["A lighthouse [[fault:drop_before_accept*1]]"]))
    fal_studio.run()

    resolution = resolve(fal_studio, "not_charged")

    assert resolution.state == "planned"
    assert balance(fal_studio) == (0, 0)
    assert state_of(fal_studio) == "generating"
    assert fal_studio.run().statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)


def test_an_abandoned_request_counts_as_spent_and_is_not_bought_unasked(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    lose_a_request(fal, fal_studio)

    resolution = resolve(fal_studio, "abandon")
    run = fal_studio.run()

    assert resolution.state == "failed"
    assert run.statuses == {"scene_1": "failed"}
    assert failure_of(run).code == "submit_abandoned"
    assert "--regenerate --scene scene_1" in failure_of(run).next_action
    assert len(fal.meter.accepted) == 1
    assert balance(fal_studio) == (0, PRICE_MICROS)
    assert fal_studio.run(mode="regenerate", token="t").statuses == {"scene_1": "generated"}
    assert_invariants(fal_studio)


@pytest.mark.parametrize(
    ("failpoint", "payments"), [("after_permit", 1), ("before_post", 1), ("after_post", 2)]
)
def test_killed_while_paying_again(
    failpoint: str, payments: int, fal: FalStandIn, fal_studio: Studio
) -> None:
    studio = with_settings(fal_studio, on_ambiguous="pay_again")
    lose_a_request(fal, studio)
    age(studio, 31)

    worker = start_worker(studio, failpoint=f"{failpoint}:kill")
    worker.join(60)
    fal.api.is_down = False
    run = studio.run()

    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    assert run.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == payments, "the first was found, or the second"
    assert balance(studio) == (0, 2 * PRICE_MICROS)
    assert_invariants(studio)


def test_a_request_that_a_dead_worker_left_is_shown_as_ambiguous(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    lose_a_request(fal, fal_studio)
    fal_studio.sql("UPDATE generations SET error_code = NULL")

    fresh = state_of(fal_studio)
    age(fal_studio, 6)

    assert fresh == "generating"
    assert state_of(fal_studio) == "ambiguous"


@pytest.mark.parametrize("verdict", ["pay_again", "not_charged", "abandon"])
def test_only_a_request_in_doubt_can_be_decided_about(
    verdict: Verdict, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal_studio.run()

    with pytest.raises(UsageError) as nothing:
        resolve(fal_studio, verdict)
    with pytest.raises(ScenePipelineError) as unknown:
        resolve(fal_studio, verdict, "scene_9")

    assert nothing.value.error_code == "nothing_ambiguous"
    assert unknown.value.error_code == "scene_unknown"
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)


def test_nobody_decides_while_a_run_holds_the_request(fal: FalStandIn, fal_studio: Studio) -> None:
    lose_a_request(fal, fal_studio)
    generation_id: UUID = row(fal_studio)["id"]

    async def decide_meanwhile() -> None:
        async with GenerationLocks.connect(fal_studio.database_url) as locks:
            assert await locks.try_acquire(generation_id)
            await asyncio.to_thread(resolve, fal_studio, "not_charged")

    with pytest.raises(LedgerError) as held:
        asyncio.run(decide_meanwhile())

    assert held.value.error_code == "held_elsewhere"
    assert row(fal_studio)["state"] == "submitting"
