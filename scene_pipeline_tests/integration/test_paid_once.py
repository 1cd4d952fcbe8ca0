"""Money: what the Fal stand-in was paid for, whatever went wrong with its answers."""

import threading
from collections import Counter
from decimal import Decimal

import pytest

from scene_pipeline.drill.standin.faults import LOST_ANSWERS
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film


def paid(fal: FalStandIn) -> Counter[str]:
    """How often each scene's words were paid for."""
    return Counter(submit.prompt.splitlines()[0] for submit in fal.meter.accepted)


def test_twelve_scenes_are_twelve_payments(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(12)]))

    first = fal_studio.run()
    second = fal_studio.run()

    assert set(first.statuses.values()) == {"generated"}
    assert set(second.statuses.values()) == {"kept"}
    assert set(paid(fal).values()) == {1}
    assert len(fal.meter.accepted) == 12
    assert_invariants(fal_studio)


def test_every_lost_answer_is_found_in_the_history(fal: FalStandIn, fal_studio: Studio) -> None:
    prompts = {fault: f"A lighthouse [[fault:{fault}*1]]" for fault in LOST_ANSWERS}
    fal_studio.bring(film({**prompts, "sound": "A calm sea"}))

    run = fal_studio.run()

    assert run.statuses == dict.fromkeys([*prompts, "sound"], "generated")
    assert set(paid(fal).values()) == {1}
    assert_invariants(fal_studio)


def test_a_lost_answer_stays_ambiguous_while_the_history_is_down(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal.api.is_down = True
    fal_studio.bring(film(["A lighthouse [[fault:drop_after_accept*1]]", "A calm sea"]))

    lost = fal_studio.run()
    fal.api.is_down = False
    found = fal_studio.run()

    assert lost.statuses == {"scene_1": "ambiguous", "scene_2": "generated"}
    assert found.statuses == {"scene_1": "generated", "scene_2": "kept"}
    assert len(fal.meter.accepted) == 2
    assert_invariants(fal_studio)


def test_a_lost_request_that_still_runs_is_not_sent_again(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    def with_patience(seconds: float) -> Studio:
        bounds = {"ambiguous_settle_seconds": 600.0, "ambiguous_patience_seconds": seconds}
        settings = fal_studio.settings.model_copy(update=bounds)
        return Studio(settings, fal_studio.database_url)

    studio = with_patience(0.5)
    fal.jobs.run_seconds = 4.0  # the history lists it only after that
    studio.bring(film(["A lighthouse [[fault:drop_after_accept*1]]"]))

    early = studio.run()
    late = with_patience(60.0).run()

    assert early.statuses == {"scene_1": "ambiguous"}
    assert early.outcomes["scene_1"].failure is not None
    assert "may still be running" in early.outcomes["scene_1"].failure.message
    assert late.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 1
    assert_invariants(studio)


def test_a_refused_connection_is_tried_again_and_paid_once(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse [[fault:rate_limited*2]]"]))

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 1


def test_a_policy_refusal_fails_one_scene_and_holds_nothing_up(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["Forbidden [[fault:content_policy]]", "A calm sea"]))

    run = fal_studio.run()
    again = fal_studio.run()

    assert run.statuses == {"scene_1": "failed", "scene_2": "generated"}
    assert again.statuses == {"scene_1": "failed", "scene_2": "kept"}
    assert run.outcomes["scene_1"].failure is not None
    assert run.outcomes["scene_1"].failure.code == "content_rejected"
    assert len(fal.meter.accepted) == 2


def test_a_runner_that_dies_uncharged_is_submitted_again(fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse [[fault:runner_disconnected*1]]"]))

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "generated"}
    assert run.outcomes["scene_1"].cost_usd == Decimal("0.003")


def test_a_refused_key_stops_the_line(fal: FalStandIn, fal_studio: Studio) -> None:
    fal.key = "another:key"
    fal_studio.bring(film([f"Scene number {n}" for n in range(30)]))

    run = fal_studio.run()

    assert set(run.statuses.values()) == {"failed"}
    submits = [contact for contact in fal.contacts if contact.method == "POST"]
    assert len(submits) <= 8, "more than what was under way was tried"
    assert len(fal.meter.accepted) == 0
    fal.key = str(fal_studio.settings.fal_key)
    assert set(fal_studio.run().statuses.values()) == {"generated"}
    assert_invariants(fal_studio)


def test_the_cap_of_a_run_is_never_overrun(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(10)]))

    run = fal_studio.run(max_cost_usd=Decimal("0.0095"))

    assert Counter(run.statuses.values()) == {"generated": 3, "blocked": 7}
    assert len(fal.meter.accepted) == 3
    blocked = next(o for o in run.outcomes.values() if o.status == "blocked")
    assert blocked.failure is not None
    assert "0.01" in blocked.failure.message
    assert fal_studio.run().statuses == dict.fromkeys(run.statuses, "generated") | {
        scene_id: "kept" for scene_id, status in run.statuses.items() if status == "generated"
    }
    assert len(fal.meter.accepted) == 10
    assert_invariants(fal_studio)


def test_two_runs_at_once_pay_once(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(8)]))
    runs: list[Run] = []

    threads = [threading.Thread(target=lambda: runs.append(fal_studio.run())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(runs) == 2
    assert all(set(run.statuses.values()) <= {"generated", "kept"} for run in runs)
    assert len(fal.meter.accepted) == 8
    told = sum(outcome.cost_usd for run in runs for outcome in run.outcomes.values())
    assert told == 8 * Decimal("0.003"), "what one run paid is not counted by the other as well"
    assert_invariants(fal_studio)


@pytest.mark.parametrize("fault", ["nsfw_flagged", "black_frame"])
def test_a_rejected_picture_is_kept_but_never_promoted(
    fault: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    settings = fal_studio.settings.model_copy(update={"rejection_reseeds": 0})
    fal_studio = Studio(settings, fal_studio.database_url)
    fal_studio.bring(film(["A lighthouse"]))
    fal_studio.run()
    before = fal_studio.start_frame("scene_1")
    fal.faults.add(fault)

    run = fal_studio.run(mode="regenerate", token="again")

    assert run.statuses == {"scene_1": "failed"}
    assert run.outcomes["scene_1"].failure is not None
    assert run.outcomes["scene_1"].failure.code == "content_rejected"
    assert run.outcomes["scene_1"].cost_usd == Decimal("0.003")
    assert fal_studio.start_frame("scene_1") == before
    assert fal_studio.sql("SELECT version FROM scene_images WHERE NOT is_current") == [
        {"version": 2}
    ]
    assert_invariants(fal_studio)


def test_a_result_that_cannot_be_read_once_is_read_again(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    faults = ["result_dropped", "result_not_json", "result_unavailable"]
    fal_studio.bring(film({fault: f"A lighthouse [[fault:{fault}*1]]" for fault in faults}))

    run = fal_studio.run()

    assert run.statuses == dict.fromkeys(faults, "generated")
    assert len(fal.meter.accepted) == len(faults)


def test_a_download_that_fails_once_is_done_again_without_paying(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    faults = ["image_short", "image_gone", "image_forbidden"]
    fal_studio.bring(film({fault: f"A lighthouse [[fault:{fault}*1]]" for fault in faults}))

    run = fal_studio.run()

    assert run.statuses["image_short"] == "generated"
    assert len(fal.meter.accepted) == len(faults)
    lost = {o.failure.code for o in run.outcomes.values() if o.failure is not None}
    assert lost <= {"result_lost"}


def test_an_edit_during_generation_is_not_clobbered(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse", "A calm sea"]))
    fal.faults.add("status_unavailable")  # makes the first poll late enough to edit in between
    edited = threading.Event()

    def edit_once_submitted() -> None:
        while not fal_studio.sql("SELECT 1 FROM generations WHERE state = 'submitted'"):
            pass
        fal_studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A lighthouse at dusk")
        edited.set()

    editor = threading.Thread(target=edit_once_submitted, daemon=True)
    fal.jobs.run_seconds = 2.0
    editor.start()
    run = fal_studio.run()
    editor.join(10)

    assert edited.is_set()
    assert run.statuses == {"scene_1": "stale", "scene_2": "generated"}
    assert fal_studio.start_frame("scene_1") is None
    again = fal_studio.run()
    assert again.statuses == {"scene_1": "generated", "scene_2": "kept"}
    assert fal_studio.start_frame("scene_1") is not None
    assert_invariants(fal_studio)
