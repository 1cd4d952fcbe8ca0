"""Replicate and Pollinations through the whole pipeline: what is paid once, and what cannot be."""

import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_crashes import finish_racing, start_worker
from scene_pipeline_tests.reference_films import HERO, add
from scene_pipeline_tests.standins.loopback_service import LoopbackService
from scene_pipeline_tests.standins.pollinations_service import PollinationsService
from scene_pipeline_tests.standins.replicate_service import LOST_ANSWERS, ReplicateService

MakeStudio = Callable[..., Studio]
SCENES = 2


@pytest.fixture
def replicate(tmp_path: Path) -> Iterator[ReplicateService]:
    with ReplicateService(tmp_path / "replicate") as running:
        yield running


@pytest.fixture
def pollinations(tmp_path: Path) -> Iterator[PollinationsService]:
    with PollinationsService(tmp_path / "pollinations") as running:
        yield running


@pytest.fixture
def studio_with(database_url: str, tmp_path: Path) -> MakeStudio:
    def make(service: LoopbackService, provider: str, **settings: Any) -> Studio:
        return Studio(
            load_settings(
                home=tmp_path / "home",
                provider=provider,
                egress_proxy=service.proxy_url,
                ssl_cert_file=service.ca_file,
                submit_timeout_seconds=1.0,
                ambiguous_settle_seconds=2.0,
                **settings,
            ),
            database_url,
        )

    return make


@pytest.fixture
def replicate_studio(replicate: ReplicateService, studio_with: MakeStudio) -> Studio:
    return studio_with(replicate, "replicate", replicate_api_token=replicate.token)


def kill(studio: Studio, failpoint: str) -> None:
    worker = start_worker(studio, failpoint=f"{failpoint}:kill")
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"


def failure(studio: Studio) -> tuple[str, str | None]:
    outcome = studio.run().outcomes["scene_1"]
    return outcome.status, outcome.failure.code if outcome.failure else None


def test_replicate_is_paid_once_by_the_picture(
    replicate: ReplicateService, replicate_studio: Studio
) -> None:
    replicate_studio.bring(film(["A lighthouse", "A calm sea"]))

    first = replicate_studio.run()
    second = replicate_studio.run()

    assert set(first.statuses.values()) == {"generated"}
    assert {outcome.cost_usd for outcome in first.outcomes.values()} == {Decimal("0.003")}
    assert set(second.statuses.values()) == {"kept"}
    assert len(replicate.meter.accepted) == 2
    assert replicate.keyed_hosts == {"api.replicate.com"}
    assert_invariants(replicate_studio)


def test_every_lost_answer_of_replicate_is_found_in_its_list(
    replicate: ReplicateService, replicate_studio: Studio
) -> None:
    for fault in LOST_ANSWERS:
        replicate.faults.add(fault)
    replicate_studio.bring(film([f"Scene number {number}" for number in range(len(LOST_ANSWERS))]))

    run = replicate_studio.run()

    assert set(run.statuses.values()) == {"generated"}
    assert len(replicate.meter.accepted) == len(LOST_ANSWERS)
    assert_invariants(replicate_studio)


@pytest.mark.parametrize("failpoint", ["before_post", "after_post", "after_submitted"])
def test_replicate_is_paid_once_although_the_worker_was_killed(
    failpoint: str, replicate: ReplicateService, replicate_studio: Studio
) -> None:
    replicate_studio.bring(film([f"Scene number {number}" for number in range(SCENES)]))

    kill(replicate_studio, failpoint)
    runs = finish_racing(replicate_studio)

    assert {status for run in runs for status in run.statuses.values()} <= {"generated", "kept"}
    assert len(replicate.meter.accepted) == SCENES
    assert_invariants(replicate_studio)


@pytest.mark.parametrize("failpoint", ["after_submitted", "after_completed"])
def test_a_picture_that_replicate_has_deleted_is_told_and_not_bought_again(
    failpoint: str, replicate: ReplicateService, replicate_studio: Studio
) -> None:
    replicate_studio.bring(film(["A lighthouse"]))
    kill(replicate_studio, failpoint)
    replicate.ahead = 3601.0

    late = failure(replicate_studio)
    again = failure(replicate_studio)

    assert late == again == ("failed", "result_lost")
    assert len(replicate.meter.accepted) == 1


def test_a_file_on_a_foreign_host_is_never_fetched(
    replicate: ReplicateService, replicate_studio: Studio
) -> None:
    replicate_studio.bring(film(["A lighthouse"]))
    replicate.faults.add("foreign_files", times=20)

    status, code = failure(replicate_studio)

    assert (status, code) == ("failed", "blocked_host")
    assert replicate.proxy.refused_hosts == []


def test_without_its_token_a_scene_is_blocked_and_says_so(
    replicate: ReplicateService, studio_with: MakeStudio
) -> None:
    studio = studio_with(replicate, "replicate")
    studio.bring(film(["A lighthouse"]))

    assert failure(studio) == ("blocked", "replicate_token_missing")
    assert studio.sql("SELECT state FROM scene_status") == [{"state": "blocked"}]
    assert replicate.contacts == []


@pytest.mark.parametrize("failpoint", ["before_post", "after_post", "after_submitted"])
def test_pollinations_without_a_key_is_asked_again_and_free(
    failpoint: str, pollinations: PollinationsService, studio_with: MakeStudio
) -> None:
    studio = studio_with(pollinations, "pollinations")
    studio.bring(film(["A lighthouse"]))

    kill(studio, failpoint)
    run = studio.run()

    assert run.statuses == {"scene_1": "generated"}
    assert run.outcomes["scene_1"].cost_usd == 0
    assert len(pollinations.meter.accepted) == (1 if failpoint == "before_post" else 2)
    assert len({submit.seed for submit in pollinations.meter.accepted}) == 1
    assert pollinations.keyed_hosts == set()
    assert_invariants(studio)


def test_pollinations_is_told_where_a_reference_is_and_never_sent_its_bytes(
    pollinations: PollinationsService, studio_with: MakeStudio
) -> None:
    studio = studio_with(
        pollinations, "pollinations", model="kontext", public_url="https://frames.example.com"
    )
    hero = add(studio, HERO, "hero.png")
    studio.bring(film(["A lighthouse"], references=[f"asset:{hero}"]))
    [asset] = studio.sql("SELECT url FROM user_assets")

    assert studio.run().statuses == {"scene_1": "generated"}

    assert [query["image"] for query in pollinations.queries] == [asset["url"]]


def keyed(
    pollinations: PollinationsService, studio_with: MakeStudio, *, allow_unknown_price: bool = True
) -> Studio:
    studio = studio_with(
        pollinations,
        "pollinations",
        pollinations_api_key=pollinations.key,
        allow_unknown_price=allow_unknown_price,
    )
    studio.bring(film(["A lighthouse"]))
    return studio


def test_pollen_has_no_price_in_dollars_so_that_it_must_be_allowed(
    pollinations: PollinationsService, studio_with: MakeStudio
) -> None:
    studio = keyed(pollinations, studio_with, allow_unknown_price=False)

    assert failure(studio) == ("blocked", "price_unknown")
    assert pollinations.contacts == []
    assert keyed(pollinations, studio_with).run().statuses == {"scene_1": "generated"}
    assert len(pollinations.meter.accepted) == 1
    assert pollinations.keyed_hosts == {"gen.pollinations.ai"}


def test_what_was_planned_for_nothing_is_not_bought_with_a_key_that_came_later(
    pollinations: PollinationsService, studio_with: MakeStudio
) -> None:
    studio = studio_with(pollinations, "pollinations")
    studio.bring(film(["A lighthouse"]))
    kill(studio, "after_plan")
    [row] = studio.sql("SELECT state, estimated_micros, unit_price_usd FROM generations")

    assert (row["state"], row["estimated_micros"], row["unit_price_usd"]) == ("planned", 0, None)
    assert failure(keyed(pollinations, studio_with, allow_unknown_price=False)) == (
        "blocked",
        "price_unknown",
    )
    assert pollinations.contacts == []


def test_a_request_to_pollinations_in_doubt_waits_for_a_person(
    pollinations: PollinationsService, studio_with: MakeStudio
) -> None:
    studio = keyed(pollinations, studio_with)
    kill(studio, "after_post")

    assert failure(studio) == failure(studio) == ("ambiguous", "submit_ambiguous")
    assert len(pollinations.meter.accepted) == 1


@pytest.mark.parametrize("failpoint", ["after_submitted", "after_completed"])
def test_what_pollinations_made_is_lost_with_the_process_that_asked_and_never_bought_again_unasked(
    failpoint: str, pollinations: PollinationsService, studio_with: MakeStudio
) -> None:
    studio = keyed(pollinations, studio_with)
    kill(studio, failpoint)

    assert failure(studio) == failure(studio) == ("failed", "result_lost")
    assert len(pollinations.meter.accepted) == 1
    assert studio.run(mode="regenerate", token="asked").statuses == {"scene_1": "generated"}
    assert len(pollinations.meter.accepted) == 2
