"""What is asked for is made: once, in its turn, and refused with a reason where it cannot be."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from psycopg.types.json import Jsonb

from scene_pipeline.database.launches import close_launch
from scene_pipeline.defs.sensors.regeneration_requests import regeneration_requests
from scene_pipeline.defs.sensors.scene_changes import scene_changes
from scene_pipeline.errors import SceneError
from scene_pipeline.pipeline.due.requests import MAX_ATTEMPTS
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline_tests.defs.ticks import Daemon
from scene_pipeline_tests.films import Studio, assert_invariants, film

STATUS = dg.DagsterRunStatus


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm(None)


@pytest.fixture
def made(studio: Studio) -> Studio:
    """A film whose frames are made."""
    studio.bring(film(["Dawn", "Dusk", "Night"]))
    studio.run()
    studio.sql("UPDATE scenes SET wanted_at = NULL")
    return studio


def ask(
    studio: Studio,
    scene_id: str = "scene_1",
    overrides: dict[str, Any] | None = None,
    reason: str = "too dark",
) -> None:
    """As another program asks: by a plain INSERT."""
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id, overrides, requested_by, reason)"
        " SELECT id, %s, %s, 'ann', %s FROM projects",
        scene_id,
        Jsonb(overrides or {}),
        reason,
    )


def states(studio: Studio) -> list[str]:
    return [
        row["state"] for row in studio.sql("SELECT state FROM regeneration_requests ORDER BY id")
    ]


def versions(studio: Studio, scene_id: str = "scene_1") -> int:
    [row] = studio.sql("SELECT count(*) AS n FROM scene_images WHERE scene_id = %s", scene_id)
    return int(row["n"])


def test_asked_five_times_is_one_version(daemon: Daemon, made: Studio) -> None:
    for _ in range(5):
        ask(made, overrides={"prompt_suffix": "in rain"})

    [request] = daemon.tick(regeneration_requests)
    daemon.execute([request])

    assert daemon.tick(regeneration_requests) == []
    assert versions(made) == 2
    assert states(made) == ["done"]
    assert made.sql("SELECT prompt FROM generations WHERE prompt LIKE '%%in rain'") != []
    assert request.tags["scene_pipeline/reason"] == "ann: too dark"
    assert request.tags["scene_pipeline/request"] == "1"
    assert "in rain" not in str(request.tags) + str(request.run_config)
    assert_invariants(made)


def test_requests_for_scattered_scenes_share_a_run(daemon: Daemon, made: Studio) -> None:
    daemon.instance.add_dynamic_partitions("scenes", [f"film/scene_{n}" for n in (1, 2, 3)])
    ask(made, "scene_1")
    ask(made, "scene_3")

    [request] = daemon.tick(regeneration_requests)
    daemon.execute([request])

    assert [versions(made, f"scene_{n}") for n in (1, 2, 3)] == [2, 1, 2]


def test_different_wishes_for_one_scene_are_made_one_after_the_other(
    daemon: Daemon, made: Studio
) -> None:
    ask(made, overrides={"seed": 1})
    ask(made, overrides={"seed": 2})

    daemon.live(regeneration_requests)

    assert versions(made) == 3
    seeds = made.sql("SELECT seed FROM generations WHERE scene_id = 'scene_1' ORDER BY seq")
    assert [row["seed"] for row in seeds][1:] == [1, 2]
    assert states(made) == ["done", "done"]


def test_a_request_waits_while_a_generation_of_its_scene_is_unfinished(
    daemon: Daemon, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    stopped = studio.settings.model_copy(update={"failpoint": "after_submitted:raise"})
    Studio(stopped, studio.database_url).run()
    arm(None)
    ask(studio, overrides={"seed": 7})

    assert daemon.tick(regeneration_requests) == []

    studio.run()
    assert len(daemon.tick(regeneration_requests)) == 1


@pytest.mark.parametrize("overrides", [{"sede": 7}, {"seed": "seven"}, {"candidates": 99}])
def test_wishes_that_make_no_sense_are_refused_and_hold_nobody_up(
    daemon: Daemon, made: Studio, overrides: dict[str, Any]
) -> None:
    ask(made, "scene_1", overrides)
    ask(made, "scene_2")

    [request] = daemon.tick(regeneration_requests)

    assert request.tags["scene_pipeline/request"] == "2"
    assert_refused(made, "overrides_invalid")


@pytest.mark.parametrize(
    ("scene_id", "change", "code"),
    [
        ("nowhere", "SELECT 1", "scene_unknown"),
        ("scene_1", "UPDATE scenes SET retired_at = now()", "scene_unknown"),
        ("scene_1", "UPDATE scenes SET locked = true", "scene_locked"),
        ("scene_1", "UPDATE projects SET archived_at = now()", "project_archived"),
    ],
)
def test_what_cannot_be_made_is_refused_and_told_once(
    daemon: Daemon, made: Studio, scene_id: str, change: str, code: str
) -> None:
    made.sql(change)
    ask(made, scene_id)

    assert daemon.tick(regeneration_requests) == []
    assert daemon.tick(regeneration_requests) == []

    assert_refused(made, code)


def assert_refused(studio: Studio, code: str) -> None:
    """The first request was, and it was told once."""
    [refused] = studio.sql(
        "SELECT state, error_code, error_message FROM regeneration_requests ORDER BY id LIMIT 1"
    )
    assert (refused["state"], refused["error_code"]) == ("failed", code)
    assert refused["error_message"].endswith(".")
    assert studio.sql("SELECT code FROM alerts") == [{"code": code}]


def test_a_request_for_a_scene_that_is_not_planned_yet_waits_for_it(
    daemon: Daemon, made: Studio
) -> None:
    made.edit(["scenes", "scene_4"], {"scene_frame_prompt": "Storm"})
    ask(made, "scene_4")

    assert daemon.tick(regeneration_requests) == []
    assert states(made) == ["pending"]

    daemon.tick(scene_changes)
    daemon.live(regeneration_requests)
    assert states(made) == ["done"]
    assert versions(made, "scene_4") == 1


def test_a_request_whose_runs_come_to_nothing_is_given_up_at_last(
    daemon: Daemon, made: Studio
) -> None:
    ask(made)
    for _ in range(MAX_ATTEMPTS):
        [request] = daemon.tick(regeneration_requests)
        daemon.create(request, STATUS.FAILURE)
        assert daemon.tick(regeneration_requests) == []  # not yet
        made.sql("UPDATE regeneration_requests SET due_at = now()")

    assert daemon.tick(regeneration_requests) == []

    assert made.sql("SELECT error_code FROM regeneration_requests") == [
        {"error_code": "not_launched"}
    ]
    assert versions(made) == 1


def test_asking_once_more_makes_a_waiting_request_due(daemon: Daemon, made: Studio) -> None:
    ask(made)
    [request] = daemon.tick(regeneration_requests)
    daemon.create(request, STATUS.FAILURE)
    assert daemon.tick(regeneration_requests) == []

    ask(made)

    assert len(daemon.tick(regeneration_requests)) == 1


def test_a_cancelled_run_ends_the_requests_that_it_had_not_begun(
    daemon: Daemon, made: Studio
) -> None:
    ask(made)
    [request] = daemon.tick(regeneration_requests)
    daemon.create(request, STATUS.CANCELED)

    daemon.live(regeneration_requests)

    assert states(made) == ["failed"]
    assert versions(made) == 1


@pytest.mark.parametrize("place", ["tick_after_close", "tick_after_launch"])
def test_a_tick_that_dies_buys_nothing_twice(daemon: Daemon, made: Studio, place: str) -> None:
    ask(made, "scene_2")
    daemon.execute(daemon.tick(regeneration_requests))
    ask(made)
    arm(f"{place}:raise")
    with pytest.raises(SceneError, match=place):
        daemon.tick(regeneration_requests)
    arm(None)

    daemon.live(regeneration_requests)

    assert (versions(made), versions(made, "scene_2")) == (2, 2)
    assert states(made) == ["done", "done"]
    assert_invariants(made)


def test_anybodys_words_are_short_and_printable_in_tags(daemon: Daemon, made: Studio) -> None:
    ask(made, reason="line\nbreak \x1b[31m" + "x" * 500)

    [request] = daemon.tick(regeneration_requests)

    reason = request.tags["scene_pipeline/reason"]
    assert reason.isprintable()
    assert len(reason) <= 100


def test_what_a_stopped_command_asked_for_waits_to_be_gone_on_with(
    daemon: Daemon, made: Studio
) -> None:
    ask(made)
    [launch] = made.sql(
        "INSERT INTO launches (trigger, project_id, scene_ids, reason)"
        " SELECT 'command', id, '{scene_1}', 'a command' FROM projects RETURNING id"
    )
    daemon.runtime.in_database(lambda conn: close_launch(conn, launch["id"], "CANCELED"))

    assert daemon.tick(regeneration_requests) == []
    assert states(made) == ["pending"]

    ask(made)
    assert len(daemon.tick(regeneration_requests)) == 1
