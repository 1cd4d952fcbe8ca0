"""A launch is committed before its run is asked for: nothing is lost and nothing done twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import dagster as dg
import psycopg
import pytest

from scene_pipeline.errors import DatabaseError, SceneError
from scene_pipeline.pipeline.failpoints import TICK_FAILPOINTS, arm
from scene_pipeline_tests.defs.ticks import Daemon, launch_ids
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.waiting import wait_until

STATUS = dg.DagsterRunStatus


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm(None)


def insert(studio: Studio, *prompts: str, key: str = "film") -> None:
    studio.sql("INSERT INTO projects (master_json) VALUES (%s::jsonb)", film(prompts, key).decode())


def pass_time(studio: Studio, interval: str) -> None:
    """As if everything had happened earlier: the database's clock is the only one compared."""
    studio.sql("UPDATE launches SET created_at = created_at - %s::interval", interval)
    studio.sql("UPDATE scenes SET wanted_at = wanted_at - %s::interval", interval)


def outcomes(studio: Studio) -> list[str | None]:
    return [row["outcome"] for row in studio.sql("SELECT outcome FROM launches ORDER BY id")]


@pytest.mark.parametrize("place", TICK_FAILPOINTS)
def test_a_tick_that_dies_anywhere_is_made_up_for(
    daemon: Daemon, studio: Studio, place: str
) -> None:
    insert(studio, "Dawn", "Dusk", key="older")
    [older] = daemon.tick()
    daemon.execute([older])  # its launch is to be closed
    insert(studio, "Noon")
    arm(f"{place}:raise")
    with pytest.raises(SceneError, match=place):
        daemon.tick()
    arm(None)

    daemon.live()

    counts = studio.sql("SELECT count(*) AS n FROM generations GROUP BY project_id ORDER BY 1")
    assert [row["n"] for row in counts] == [1, 2]
    assert outcomes(studio) == ["SUCCESS", "SUCCESS"]
    assert len(daemon.executed) == 2
    assert_invariants(studio)


def test_a_launch_without_a_run_is_asked_for_again_under_the_same_key(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn", "Dusk")

    [first] = daemon.tick()
    [second] = daemon.tick()

    assert (first.run_key, first.tags) == (second.run_key, second.tags)
    assert len(outcomes(studio)) == 1


def test_a_run_that_was_created_and_never_submitted_is_asked_for_again(
    daemon: Daemon, studio: Studio
) -> None:
    """Dagster goes on with the run that it has for the key."""
    insert(studio, "Dawn")
    [request] = daemon.tick()
    daemon.create(request, STATUS.NOT_STARTED)

    [again] = daemon.tick()

    assert again.run_key == request.run_key


def test_a_launch_whose_run_never_came_expires_and_is_launched_anew(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn")
    [request] = daemon.tick()
    pass_time(studio, "11 minutes")

    [again] = daemon.tick()

    assert again.run_key != request.run_key
    assert outcomes(studio) == ["expired", None]
    assert studio.sql("SELECT want_attempts FROM scenes") == [{"want_attempts": 1}]


def test_a_launch_whose_keys_lie_apart_meanwhile_is_cut_anew(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn", "Dusk")
    with_keys = daemon.instance
    daemon.tick()
    with_keys.delete_dynamic_partition("scenes", "film/scene_1")
    with_keys.add_dynamic_partitions("scenes", ["other/scene_1", "film/scene_1"])

    requests = daemon.tick()

    assert outcomes(studio) == ["expired", None, None]
    assert len(requests) == 2


def test_while_a_run_is_active_its_scenes_are_not_launched_again(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn")
    [request] = daemon.tick()
    run = daemon.create(request, STATUS.STARTED, **{"dagster/max_retries": "0"})
    pass_time(studio, "1 day")

    assert daemon.tick() == []

    daemon.instance.report_run_failed(daemon.instance.get_run_by_id(run.run_id) or run)
    [again] = daemon.tick()
    assert launch_ids([again]) != launch_ids([request])


def test_a_failed_run_is_followed_by_others_ever_later_and_not_for_ever(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn")
    keys = set()
    for _ in range(5):
        [request] = daemon.tick()
        keys.add(request.run_key)
        daemon.create(request, STATUS.FAILURE)
        assert daemon.tick() == []  # not yet
        pass_time(studio, "2 hours")

    assert daemon.tick() == []
    assert len(keys) == 5
    assert outcomes(studio) == ["FAILURE"] * 5
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Noon")
    assert len(daemon.tick()) == 1


def test_a_run_that_dagster_begins_again_by_itself_holds_its_scenes(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn")
    [request] = daemon.tick()
    daemon.create(request, STATUS.FAILURE, **{"dagster/will_retry": "true"})
    pass_time(studio, "1 hour")

    assert daemon.tick() == []
    assert outcomes(studio) == [None]

    daemon.create(request, STATUS.SUCCESS)
    daemon.tick()
    assert outcomes(studio)[0] == "SUCCESS"


def test_what_a_person_cancelled_is_not_begun_again_until_it_changes(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn", "Dusk")
    [request] = daemon.tick()
    daemon.create(request, STATUS.CANCELED)
    assert daemon.tick() == []
    pass_time(studio, "1 day")
    assert daemon.tick() == []

    studio.edit(["scenes", "scene_2", "scene_frame_prompt"], "Noon")

    [again] = daemon.tick()
    assert again.tags["dagster/asset_partition_range_start"] == "film/scene_2"


def test_a_command_holds_its_scenes_and_a_dead_one_lets_them_go(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, "Dawn", "Dusk")
    studio.bring(film(["Noon"], key="other"))
    [project] = studio.sql("SELECT id FROM projects WHERE key = 'film'")
    [launch] = studio.sql(
        "INSERT INTO launches (trigger, project_id, scene_ids, reason)"
        " VALUES ('command', %s, '{scene_1,scene_2}', 'a command') RETURNING id",
        project["id"],
    )

    [other] = daemon.tick()
    assert other.tags["scene_pipeline/project"] == "other"
    working = daemon.create(other, STATUS.STARTED, **{"scene_pipeline/launch": str(launch["id"])})
    pass_time(studio, "2 minutes")
    daemon.execute([other])
    assert daemon.tick() == []

    daemon.instance.report_run_failed(daemon.instance.get_run_by_id(working.run_id) or working)
    [taken_over] = daemon.tick()
    assert taken_over.tags["scene_pipeline/project"] == "film"


def test_two_ticks_at_once_launch_a_scene_once(daemon: Daemon, studio: Studio) -> None:
    """One of them waits for the other's transaction, and then finds the scene held."""
    insert(studio, "Dawn")
    [project] = studio.sql("SELECT id FROM projects")
    with psycopg.connect(studio.database_url) as rival, ThreadPoolExecutor() as threads:
        rival.execute("SELECT pg_advisory_xact_lock(hashtextextended('launches', 0))")
        rival.execute(
            "INSERT INTO launches (trigger, project_id, scene_ids, reason)"
            " VALUES ('regeneration_requests', %s, '{scene_1}', 'a rival')",
            (project["id"],),
        )
        ticking = threads.submit(daemon.tick)
        wait_until(
            lambda: bool(
                studio.sql(
                    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                    " AND database = (SELECT oid FROM pg_database"
                    "   WHERE datname = current_database())"
                )
            )
        )
        rival.commit()
        assert ticking.result() == []
    assert outcomes(studio) == [None]


def test_a_database_that_is_gone_fails_the_tick(daemon: Daemon) -> None:
    daemon.runtime = replace(
        daemon.runtime, database_url="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
    )

    with pytest.raises(DatabaseError, match=r"^\[database_unavailable\] .*`scene-pipeline doctor`"):
        daemon.tick()
