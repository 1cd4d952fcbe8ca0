"""After a rejection: what is tried next, what it costs, and that a crash changes nothing of it."""

import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_continuity import grouped_film, studio_with
from scene_pipeline_tests.integration.test_crashes import finish_racing, start_worker
from scene_pipeline_tests.standins.scripted_provider import scripted_provider

PRICE = Decimal("0.003")
FALLBACK = "fal-ai/flux/dev"
FALLBACK_PRICE = Decimal("0.025")
REFUSED_ONCE = "Words [[fault:content_policy_at_submit*1]]"


def with_settings(studio: Studio, **settings: Any) -> Studio:
    return Studio(studio.settings.model_copy(update=settings), studio.database_url)


def code_of(run: Run, scene_id: str = "scene_1") -> str | None:
    failure = run.outcomes[scene_id].failure
    return failure.code if failure else None


def words_of(run: Run, scene_id: str = "scene_1") -> str:
    failure = run.outcomes[scene_id].failure
    assert failure is not None
    return failure.message


def rungs(studio: Studio) -> list[tuple[int, str, str]]:
    rows = studio.sql("SELECT rung, endpoint, state FROM generations ORDER BY seq")
    return [(row["rung"], row["endpoint"], row["state"]) for row in rows]


@pytest.mark.parametrize("fault", ["nsfw_flagged", "black_frame"])
def test_a_flagged_picture_is_followed_by_one_with_another_seed(
    fault: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal.faults.add(fault)

    run = fal_studio.run()
    again = fal_studio.run()

    assert run.statuses == {"scene_1": "generated"}
    assert again.statuses == {"scene_1": "kept"}
    first, second = fal.meter.accepted
    assert (first.prompt, first.endpoint) == (second.prompt, second.endpoint)
    assert first.seed != second.seed
    assert run.outcomes["scene_1"].cost_usd == 2 * PRICE
    assert run.outcomes["scene_1"].frame is not None
    assert run.outcomes["scene_1"].frame.version == 2
    assert code_of(run) == "content_rejected_before"
    assert "flagged or blank" in words_of(run)
    assert "rung 1" in words_of(run)
    assert str(second.seed) in words_of(run)
    versions = fal_studio.sql(
        "SELECT rejection IS NULL AS is_sound, is_current FROM scene_images ORDER BY version"
    )
    assert versions == [
        {"is_sound": False, "is_current": False},
        {"is_sound": True, "is_current": True},
    ]
    [flagged] = fal_studio.sql("SELECT flagged_input FROM generations WHERE rung = 0")
    assert flagged == {"flagged_input": "output"}
    assert run.stages("scene_1").count("scene_image") == 1
    assert_invariants(fal_studio)


def test_after_the_reseeds_the_fallback_model_is_asked_once(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    studio = with_settings(fal_studio, rejection_reseeds=2, rejection_fallback_model=FALLBACK)
    studio.bring(film(["A lighthouse"]))
    fal.faults.add("nsfw_flagged", 3)

    run = studio.run()

    assert run.statuses == {"scene_1": "generated"}
    model = "fal-ai/flux/schnell"
    assert [submit.endpoint for submit in fal.meter.accepted] == [model, model, model, FALLBACK]
    assert len({submit.seed for submit in fal.meter.accepted}) == 4
    assert run.outcomes["scene_1"].cost_usd == 3 * PRICE + FALLBACK_PRICE
    assert f"the fallback model {FALLBACK}" in words_of(run)
    assert_invariants(studio)


def test_when_every_rung_is_rejected_the_scene_fails_for_good(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    studio = with_settings(fal_studio, rejection_fallback_model=f"fal:{FALLBACK}")
    studio.bring(film(["A lighthouse"]))
    fal.faults.add("nsfw_flagged", 10)

    run = studio.run()
    again = studio.run()

    assert run.statuses == again.statuses == {"scene_1": "failed"}
    assert code_of(run) == "content_rejected"
    assert "Rejected before" in words_of(run)
    assert len(fal.meter.accepted) == 3
    assert run.outcomes["scene_1"].cost_usd == 2 * PRICE + FALLBACK_PRICE
    assert again.outcomes["scene_1"].cost_usd == 0
    assert rungs(studio) == [
        (0, "fal-ai/flux/schnell", "failed"),
        (1, "fal-ai/flux/schnell", "failed"),
        (2, FALLBACK, "failed"),
    ]
    assert_invariants(studio)


def test_refused_words_are_not_sent_again_but_to_the_fallback_model(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    studio = with_settings(fal_studio, rejection_reseeds=3, rejection_fallback_model=FALLBACK)
    studio.bring(film([REFUSED_ONCE]))

    run = studio.run()

    assert run.statuses == {"scene_1": "generated"}
    assert [submit.endpoint for submit in fal.meter.accepted] == [FALLBACK]
    assert run.outcomes["scene_1"].cost_usd == FALLBACK_PRICE
    assert "the prompt was refused" in words_of(run)
    assert rungs(studio) == [(0, "fal-ai/flux/schnell", "failed"), (1, FALLBACK, "published")]


def test_without_a_fallback_refused_words_are_sent_once_ever(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["Words [[fault:content_policy_at_submit]]"]))

    runs = [
        fal_studio.run(),
        fal_studio.run(),
        fal_studio.run(mode="regenerate", token="again"),
        fal_studio.run(mode="regenerate", token="again"),
    ]

    assert [run.statuses["scene_1"] for run in runs] == ["failed"] * 4
    posts = [contact for contact in fal.contacts if contact.method == "POST"]
    assert len(posts) == 2, "once by itself, and once because it was asked for"


def test_a_refused_reference_is_never_sent_again_by_itself(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    studio = with_settings(
        fal_studio,
        rejection_reseeds=3,
        rejection_fallback_model=FALLBACK,
        model="fal-ai/flux-2/edit",
        allow_unknown_price=True,
    )
    studio.bring(grouped_film({"one": "hall", "two": "hall"}))
    fal_studio.run("one")  # by a model that needs nothing to go by
    fal.faults.add("content_policy_reference")

    run = studio.run("two")
    again = studio.run("two")

    assert run.statuses == again.statuses == {"two": "failed"}
    assert len(fal.meter.accepted) == 2
    failure = run.outcomes["two"].failure
    assert failure is not None
    assert "version 1 of one" in failure.next_action
    assert studio.sql("SELECT flagged_input FROM generations WHERE scene_id = 'two'") == [
        {"flagged_input": "reference"}
    ]


def test_the_request_stays_open_until_the_last_rung_has_answered_it(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal_studio.run()
    fal.faults.add("nsfw_flagged", 3)
    ask = (
        "INSERT INTO regeneration_requests (project_id, scene_id, requested_by)"
        " SELECT id, 'scene_1', 'test' FROM projects"
    )
    answer = (
        "SELECT r.state, g.rung FROM regeneration_requests r"
        " JOIN generations g ON g.id = r.generation_id ORDER BY r.id"
    )

    fal_studio.sql(ask)
    failed = fal_studio.run()
    fal_studio.sql(ask)
    made = fal_studio.run()

    assert (failed.statuses, made.statuses) == ({"scene_1": "failed"}, {"scene_1": "generated"})
    assert fal_studio.sql(answer) == [
        {"state": "failed", "rung": 1},
        {"state": "done", "rung": 1},
    ]
    assert_invariants(fal_studio)


def test_a_repeated_order_finds_the_frame_that_a_later_rung_made(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal.faults.add("nsfw_flagged")

    first = fal_studio.run(mode="regenerate", token="backfill-1")
    retried = fal_studio.run(mode="regenerate", token="backfill-1")

    assert first.statuses == {"scene_1": "generated"}
    assert retried.statuses == {"scene_1": "kept"}
    assert len(fal.meter.accepted) == 2


def test_a_cap_holds_between_the_rungs(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal.faults.add("nsfw_flagged")

    capped = fal_studio.run(max_cost_usd=Decimal("0.0045"))
    resumed = fal_studio.run()

    assert capped.statuses == {"scene_1": "blocked"}
    assert capped.outcomes["scene_1"].cost_usd == PRICE
    assert resumed.statuses == {"scene_1": "generated"}
    assert resumed.outcomes["scene_1"].cost_usd == PRICE
    assert [rung for rung, _, _ in rungs(fal_studio)] == [0, 1]
    assert_invariants(fal_studio)


def test_a_fallback_model_of_unknown_price_is_not_paid(fal: FalStandIn, fal_studio: Studio) -> None:
    studio = with_settings(fal_studio, rejection_fallback_model="fal-ai/no-price-known")
    studio.bring(film([REFUSED_ONCE]))

    run = studio.run()
    allowed = with_settings(studio, allow_unknown_price=True).run()

    assert run.statuses == {"scene_1": "blocked"}
    assert code_of(run) == "price_unknown"
    assert allowed.statuses == {"scene_1": "generated"}
    assert [submit.endpoint for submit in fal.meter.accepted] == ["fal-ai/no-price-known"]


def test_the_fallback_may_be_another_provider(fal_studio: Studio) -> None:
    offline = with_settings(fal_studio, rejection_fallback_model="offline:offline/landscape")
    offline.bring(film([REFUSED_ONCE]))

    run = offline.run()

    assert run.statuses == {"scene_1": "generated"}
    assert run.outcomes["scene_1"].cost_usd == 0
    assert run.outcomes["scene_1"].frame is not None
    assert run.outcomes["scene_1"].frame.provider == "offline"


def test_a_last_rung_that_may_be_repeated_is_repeated_once_by_each_run(
    database_url: str, tmp_path: Path
) -> None:
    def refuse_first_model(request: ImageRequest) -> None:
        if request.endpoint != FALLBACK:
            raise ProviderError(
                "No.", code="content_rejected", charge="not_charged", flagged_input="prompt"
            )

    with scripted_provider() as provider:
        provider.before_accepting = refuse_first_model
        provider.set_fault("dies_charged")
        studio = studio_with(provider, database_url, tmp_path, rejection_fallback_model=FALLBACK)
        studio.bring(film(["A lighthouse"]))

        failed = [studio.run() for _ in range(3)]
        provider.set_fault("none")
        made = studio.run()

    assert [run.statuses["scene_1"] for run in failed] == ["failed"] * 3
    assert made.statuses == {"scene_1": "generated"}
    assert sorted(provider.charges.values()) == [1, 1, 1, 1]


@pytest.mark.parametrize("change", ["edited", "removed", "locked", "archived"])
def test_for_a_scene_that_has_gone_on_nothing_more_is_tried(
    change: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse", "A storm"]))
    fal_studio.run()
    order = {"scene_ids": ["scene_1"], "mode": "regenerate", "token": "again"}
    worker = start_worker(fal_studio, order, failpoint="after_completed:kill")
    worker.join(60)
    flag = "UPDATE generations SET result = jsonb_set(result, '{images,0,is_flagged}', 'true')"
    fal_studio.sql(f"{flag} WHERE state = 'completed'")
    match change:
        case "edited":
            fal_studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Another")
        case "removed":
            fal_studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_1}'")
        case "locked":
            fal_studio.sql("UPDATE scenes SET locked = true")
        case _:
            fal_studio.sql("UPDATE projects SET archived_at = now()")

    fal_studio.run("scene_1")

    assert len(fal.meter.accepted) == 3
    assert [rung for rung, _, _ in rungs(fal_studio)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("failpoint", "prompt", "payments"),
    [
        ("after_recorded", "A lighthouse [[fault:nsfw_flagged*1]]", 2),
        ("after_rung", REFUSED_ONCE, 1),
    ],
)
def test_killed_between_two_rungs(
    failpoint: str, prompt: str, payments: int, fal: FalStandIn, fal_studio: Studio
) -> None:
    studio = with_settings(fal_studio, rejection_fallback_model=FALLBACK)
    studio.bring(film([prompt]))

    worker = start_worker(studio, failpoint=f"{failpoint}:kill")
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    runs = finish_racing(studio)

    assert {run.statuses["scene_1"] for run in runs} <= {"generated", "kept"}
    assert [(rung, state) for rung, _, state in rungs(studio)] == [(0, "failed"), (1, "published")]
    assert len(fal.meter.accepted) == payments
    assert_invariants(studio)


def test_two_workers_make_one_rung(fal: FalStandIn, fal_studio: Studio) -> None:
    prompts = [f"Scene {number} [[fault:nsfw_flagged*1]]" for number in range(4)]
    fal_studio.bring(film(prompts))

    runs = finish_racing(fal_studio)

    assert {s for run in runs for s in run.statuses.values()} <= {"generated", "kept"}
    assert len(fal.meter.accepted) == 8
    told = sum(outcome.cost_usd for run in runs for outcome in run.outcomes.values())
    assert told == 8 * PRICE, "each run tells what it paid itself"
    assert_invariants(fal_studio)
