"""What was begun is finished, by nobody else than one, and not what was given up on purpose."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import dagster as dg
import psycopg
import pytest

from scene_pipeline.database.due import UnfinishedGeneration
from scene_pipeline.database.rows import GenerationState
from scene_pipeline.defs.sensors.unfinished_generations import unfinished_generations
from scene_pipeline.errors import SceneError
from scene_pipeline.pipeline.due.generations import wait_after
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline_tests.defs.ticks import Daemon
from scene_pipeline_tests.films import Studio, assert_invariants, film

STATUS = dg.DagsterRunStatus


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm(None)


def begin(studio: Studio, place: str) -> None:
    """Leave a generation open, as a run leaves it that dies at this place."""
    studio.bring(film(["Dawn"]))
    stopped = studio.settings.model_copy(update={"failpoint": f"{place}:raise"})
    with suppress(SceneError):  # planning stops the whole run, the other places a scene
        Studio(stopped, studio.database_url).run("scene_1")
    arm(None)
    make_due(studio)


def make_due(studio: Studio) -> None:
    studio.sql("UPDATE generations SET take_up_at = now() - interval '1 second'")


def state(studio: Studio) -> str:
    [row] = studio.sql("SELECT state FROM generations")
    return str(row["state"])


@pytest.mark.parametrize("place", ["after_submitted", "after_completed", "after_stored"])
def test_what_a_dead_run_left_is_finished(daemon: Daemon, studio: Studio, place: str) -> None:
    begin(studio, place)
    left = state(studio)

    daemon.live(unfinished_generations)

    assert left in ("submitted", "completed", "stored")
    assert state(studio) == "published"
    assert studio.start_frame("scene_1") is not None
    assert_invariants(studio)


def test_what_is_not_due_is_left_alone(daemon: Daemon, studio: Studio) -> None:
    begin(studio, "after_submitted")
    studio.sql("UPDATE generations SET take_up_at = now() + interval '1 day'")

    assert daemon.tick(unfinished_generations) == []


def test_a_generation_that_somebody_holds_is_left_to_him(daemon: Daemon, studio: Studio) -> None:
    begin(studio, "after_submitted")
    [row] = studio.sql("SELECT id FROM generations")
    with psycopg.connect(studio.database_url, autocommit=True) as worker:
        worker.execute(
            "SELECT pg_advisory_lock(hashtextextended('generation:' || %s, 0))", (str(row["id"]),)
        )
        assert daemon.tick(unfinished_generations) == []

    assert len(daemon.tick(unfinished_generations)) == 1


def run_of(daemon: Daemon, studio: Studio, status: STATUS) -> dg.DagsterRun:
    """Make the generation's run one that Dagster knows."""
    daemon.instance.add_dynamic_partitions("scenes", ["film/scene_1"])
    request = dg.RunRequest(run_key="a run", tags={"dagster/partition": "film/scene_1"})
    run = daemon.create(request, status, **{"dagster/max_retries": "0"})
    studio.sql("UPDATE generations SET run_id = %s", run.run_id)
    return run


def test_a_generation_waits_for_its_turn_in_an_active_run(daemon: Daemon, studio: Studio) -> None:
    begin(studio, "after_submitted")
    run = run_of(daemon, studio, STATUS.STARTED)

    assert daemon.tick(unfinished_generations) == []
    daemon.instance.report_run_failed(run)
    make_due(studio)

    assert len(daemon.tick(unfinished_generations)) == 1


@pytest.mark.parametrize("status", [STATUS.STARTING, STATUS.STARTED])
def test_what_a_dead_run_left_waits_for_the_run_that_takes_its_place(
    daemon: Daemon, studio: Studio, status: STATUS
) -> None:
    begin(studio, "after_submitted")
    dead = run_of(daemon, studio, STATUS.FAILURE)
    again = daemon.instance.create_run_for_job(
        daemon.job,
        tags={
            **dead.tags,
            "dagster/root_run_id": dead.run_id,
            "dagster/parent_run_id": dead.run_id,
        },
        parent_run_id=dead.run_id,
        root_run_id=dead.run_id,
        status=status,
    )

    assert daemon.tick(unfinished_generations) == []
    daemon.instance.report_run_failed(again)
    make_due(studio)

    assert len(daemon.tick(unfinished_generations)) == 1


@pytest.mark.parametrize(("place", "expected"), [("after_plan", 0), ("after_submitted", 1)])
def test_after_a_cancel_only_what_was_sent_is_finished(
    daemon: Daemon, studio: Studio, place: str, expected: int
) -> None:
    begin(studio, place)
    run_of(daemon, studio, STATUS.CANCELED)

    assert len(daemon.tick(unfinished_generations)) == expected


@pytest.mark.parametrize(("place", "expected"), [("after_plan", 0), ("after_submitted", 1)])
def test_of_an_archived_project_only_what_was_sent_is_finished(
    daemon: Daemon, studio: Studio, place: str, expected: int
) -> None:
    begin(studio, place)
    studio.sql("UPDATE projects SET archived_at = now()")

    requests = daemon.tick(unfinished_generations)
    daemon.execute(requests)

    assert len(requests) == expected
    assert state(studio) == ("published" if expected else "planned")


def test_a_tick_that_dies_after_its_commit_is_made_up_for(daemon: Daemon, studio: Studio) -> None:
    begin(studio, "after_submitted")
    arm("tick_after_launch:raise")
    with pytest.raises(SceneError, match="tick_after_launch"):
        daemon.tick(unfinished_generations)
    arm(None)

    daemon.live(unfinished_generations)

    assert state(studio) == "published"
    assert len(daemon.executed) == 1
    assert_invariants(studio)


def test_a_run_that_fails_again_is_followed_later(daemon: Daemon, studio: Studio) -> None:
    begin(studio, "after_submitted")
    [request] = daemon.tick(unfinished_generations)
    daemon.create(request, STATUS.FAILURE)

    assert daemon.tick(unfinished_generations) == []
    make_due(studio)

    [again] = daemon.tick(unfinished_generations)
    assert again.run_key != request.run_key


@pytest.mark.parametrize(
    ("state", "error_code", "is_blocked", "seconds"),
    [
        ("submitted", None, False, [30, 60, 120, 240, 480, 600, 600]),
        ("submitting", "submit_ambiguous", False, [60, 120, 300, 600, 600]),
        ("planned", "budget_exhausted", True, [600, 1200, 2400, 3600, 3600]),
        ("planned", "reference_changed", True, [30, 60, 120, 300, 600, 1800, 3600, 3600]),
        ("planned", None, False, [30, 60, 120, 300, 600, 1800, 3600, 3600]),
    ],
)
def test_waits_grow_up_to_a_bound(
    state: GenerationState, error_code: str | None, is_blocked: bool, seconds: list[int]
) -> None:
    waits = [
        wait_after(
            UnfinishedGeneration(
                UUID(int=1),
                UUID(int=2),
                "film",
                "scene_1",
                state,
                None,
                error_code,
                is_blocked,
                attempts,
            )
        ).total_seconds()
        for attempts in range(len(seconds))
    ]

    assert waits == seconds


def wait_for_a_key(studio: Studio, *, since: str) -> None:
    studio.sql(
        "UPDATE generations SET error_code = 'replicate_token_missing', take_up_attempts = 3,"
        " take_up_at = now() + interval '1 hour', updated_at = now() - %s::interval",
        since,
    )


def give_key(daemon: Daemon) -> None:
    settings = daemon.runtime.settings.model_copy(update={"replicate_api_token": "r8_abc"})
    daemon.runtime = replace(daemon.runtime, settings=settings)


def test_a_process_that_has_the_key_takes_up_what_waited_for_it(
    daemon: Daemon, studio: Studio
) -> None:
    begin(studio, "after_plan")
    wait_for_a_key(studio, since="1 day")
    without = daemon.tick(unfinished_generations)
    give_key(daemon)

    assert without == []
    assert len(daemon.tick(unfinished_generations)) == 1


def test_what_is_held_up_again_by_a_key_that_is_set_here_waits_its_time(
    daemon: Daemon, studio: Studio
) -> None:
    begin(studio, "after_plan")
    wait_for_a_key(studio, since="0 seconds")
    give_key(daemon)

    assert daemon.tick(unfinished_generations) == []


def test_what_waits_for_a_key_or_a_picture_is_not_taken_up_in_vain(
    daemon: Daemon, studio: Studio
) -> None:
    begin(studio, "after_plan")
    waits = {}
    for code in (
        "replicate_token_missing",
        "pollinations_key_missing",
        "reference_missing",
        "references_unsupported",
        "provider_busy",
        "rate_limited",
    ):
        studio.sql("DELETE FROM launches")
        studio.sql(
            "UPDATE generations SET error_code = %s, take_up_attempts = 0, take_up_at = now()", code
        )
        assert len(daemon.tick(unfinished_generations)) == 1
        [row] = studio.sql(
            "SELECT extract(epoch FROM take_up_at - now())::int AS wait FROM generations"
        )
        waits[code] = round(row["wait"] / 10) * 10

    assert waits.pop("rate_limited") == 30
    assert set(waits.values()) == {600}


@pytest.mark.parametrize(("place", "expected"), [("after_plan", 0), ("after_submitted", 1)])
def test_of_a_scene_that_is_gone_only_what_was_sent_is_finished(
    daemon: Daemon, studio: Studio, place: str, expected: int
) -> None:
    begin(studio, place)
    studio.edit(["scenes"], {"scene_2": {"scene_frame_prompt": "Dusk"}})
    studio.sql("UPDATE scenes SET retired_at = now()")

    requests = daemon.tick(unfinished_generations)
    daemon.execute(requests)

    assert len(requests) == expected
    [row] = studio.sql("SELECT state FROM generations WHERE scene_id = 'scene_1'")
    assert row == {"state": "superseded" if expected else "planned"}


def test_what_the_cap_of_its_run_held_back_waits_for_a_person(
    daemon: Daemon, studio: Studio
) -> None:
    begin(studio, "after_plan")
    studio.sql("UPDATE generations SET take_up_at = 'infinity'")

    assert daemon.tick(unfinished_generations) == []
