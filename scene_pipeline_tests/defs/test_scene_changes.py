"""Documents change, and scenes get their frames by themselves: once, and at the right time."""

import json
from dataclasses import replace

import dagster as dg
import pytest

from scene_pipeline.defs.launch_requests import LAUNCHES_PER_TICK
from scene_pipeline.defs.partitions import register_partitions
from scene_pipeline.scenes.identity import partition_key
from scene_pipeline_tests.defs.ticks import Daemon
from scene_pipeline_tests.films import Studio, assert_invariants, film

START = "dagster/asset_partition_range_start"
END = "dagster/asset_partition_range_end"


def insert(studio: Studio, document: bytes) -> None:
    """A project as another program would bring it."""
    studio.sql("INSERT INTO projects (master_json) VALUES (%s::jsonb)", document.decode())


def generations(studio: Studio) -> int:
    [row] = studio.sql("SELECT count(*) AS n FROM generations")
    return int(row["n"])


def ranges(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    return [(one.tags[START], one.tags[END]) for one in requests]


def test_a_project_that_another_program_inserts_gets_its_frames(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, film(["Dawn", "Dusk"]))

    [request] = daemon.tick()
    daemon.execute([request])

    assert request.tags["scene_pipeline/project"] == "film"
    assert request.tags["scene_pipeline/reason"] == "no frame yet"
    assert daemon.tick() == []
    assert studio.start_frame("scene_1") is not None
    assert studio.start_frame("scene_2") is not None
    assert studio.sql("SELECT outcome FROM launches") == [{"outcome": "SUCCESS"}]
    assert_invariants(studio)


def test_our_own_writing_wakes_nothing(daemon: Daemon, studio: Studio) -> None:
    insert(studio, film(["Dawn", "Dusk"]))
    daemon.live()
    studio.sql("UPDATE scenes SET wanted_at = now() WHERE wanted_at IS NOT NULL")

    assert daemon.tick() == []

    assert studio.sql("SELECT 1 FROM projects WHERE revision > planned_revision") == []
    assert studio.sql("SELECT scene_id FROM scenes WHERE wanted_at IS NOT NULL") == []
    assert generations(studio) == 2


def test_an_edited_scene_is_stale_and_waits_to_be_asked_for(daemon: Daemon, studio: Studio) -> None:
    insert(studio, film(["Dawn", "Dusk"]))
    daemon.live()
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Noon")

    assert daemon.tick() == []

    states = studio.sql("SELECT state FROM scene_status ORDER BY position")
    assert [row["state"] for row in states] == ["stale", "current"]
    assert (
        studio.sql("SELECT 1 FROM scenes WHERE wanted_at IS NOT NULL AND scene_id='scene_1'") == []
    )


def test_with_auto_refresh_an_edit_is_bought_after_a_quiet_while(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, film(["Dawn", "Dusk", "Night"]))
    daemon.live()
    studio.sql("UPDATE projects SET auto_refresh = true")
    assert daemon.tick() == []
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Noon")
    assert daemon.tick() == []  # somebody may be typing
    studio.sql(
        "UPDATE scenes SET content_changed_at = now() - interval '121 seconds',"
        " wanted_at = now() - interval '1 second' WHERE scene_id = 'scene_1'"
    )

    [request] = daemon.tick()
    daemon.execute([request])

    assert ranges([request]) == [("film/scene_1", "film/scene_1")]
    assert request.run_key is not None
    assert request.run_key.startswith("auto_refresh:film:")
    assert daemon.tick() == []
    assert generations(studio) == 4
    assert_invariants(studio)


def test_removed_scenes_are_retired_and_come_back_for_nothing(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, film(["Dawn", "Dusk"]))
    daemon.live()
    [kept] = studio.sql("SELECT master_json FROM projects")
    studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_2}'")
    assert daemon.tick() == []
    [retired] = studio.sql("SELECT retired_at FROM scenes WHERE scene_id = 'scene_2'")
    assert retired["retired_at"] is not None
    again = kept["master_json"]
    del again["scenes"]["scene_2"]["scene_start_frame"]
    studio.sql("UPDATE projects SET master_json = %s::jsonb", json.dumps(again))

    daemon.live()

    assert studio.start_frame("scene_2") is not None
    assert generations(studio) == 2
    assert_invariants(studio)


def test_a_document_that_cannot_be_used_is_told_once_and_blocks_nobody(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, film(["Dawn"], key="good"))
    studio.sql("INSERT INTO projects (key, master_json) VALUES ('bad', '{\"scenes\": 7}')")

    requests = daemon.tick()
    daemon.tick()

    assert [one.tags["scene_pipeline/project"] for one in requests] == ["good"]
    [bad] = studio.sql("SELECT document_problem FROM projects WHERE key = 'bad'")
    [alert] = studio.sql("SELECT code FROM alerts")
    assert bad["document_problem"]["code"] == alert["code"]
    studio.sql(
        "UPDATE projects SET master_json = %s::jsonb WHERE key = 'bad'",
        film(["Dusk"], key="bad").decode(),
    )
    assert [one.tags["scene_pipeline/project"] for one in daemon.tick()] == ["good", "bad"]
    [mended] = studio.sql("SELECT document_problem FROM projects WHERE key = 'bad'")
    assert mended["document_problem"] is None


def test_a_key_that_no_partition_can_have_is_told_and_blocks_nobody(
    daemon: Daemon, studio: Studio
) -> None:
    studio.sql(
        "INSERT INTO projects (key, master_json) VALUES (%s, %s::jsonb)",
        "é" * 200,
        film(["Dawn"]).decode(),
    )
    insert(studio, film(["Dawn"], key="good"))

    requests = daemon.tick()

    assert [one.tags["scene_pipeline/project"] for one in requests] == ["good"]
    assert studio.sql("SELECT code FROM alerts") == [{"code": "bad_project_key"}]


def test_a_large_project_becomes_runs_of_bounded_size(daemon: Daemon, studio: Studio) -> None:
    daemon.runtime = replace(
        daemon.runtime,
        settings=daemon.runtime.settings.model_copy(update={"scenes_per_run": 2}),
    )
    insert(studio, film([f"Shot {number}" for number in range(1, 6)]))

    requests = daemon.tick()

    assert ranges(requests) == [
        ("film/scene_1", "film/scene_2"),
        ("film/scene_3", "film/scene_4"),
        ("film/scene_5", "film/scene_5"),
    ]


def test_one_tick_launches_a_bounded_number_of_runs_and_the_next_one_the_rest(
    daemon: Daemon, studio: Studio
) -> None:
    count = LAUNCHES_PER_TICK + 5
    for number in range(count):
        insert(studio, film(["Dawn"], key=f"film_{number:02}"))

    first = daemon.tick()
    for request in first:
        daemon.create(request, dg.DagsterRunStatus.STARTED)
    second = daemon.tick()

    assert len(first) == LAUNCHES_PER_TICK
    assert len(second) == count - LAUNCHES_PER_TICK
    assert len({one.run_key for one in first + second}) == count


def test_small_gaps_of_scenes_at_rest_are_run_along_and_cost_nothing(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, film([f"Shot {number}" for number in range(1, 6)]))
    daemon.live()
    for scene_id in ("scene_1", "scene_3"):
        studio.edit(["scenes", scene_id, "scene_start_frame"], None)

    [request] = daemon.tick()
    daemon.execute([request])

    assert ranges([request]) == [("film/scene_1", "film/scene_3")]
    assert daemon.tick() == []
    assert generations(studio) == 5
    assert_invariants(studio)


def test_a_stale_scene_is_never_run_along_in_a_refreshing_run(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, film(["One", "Two", "Three"]))
    daemon.live()
    studio.sql("UPDATE projects SET auto_refresh = true")
    for scene_id in ("scene_1", "scene_3"):
        studio.edit(["scenes", scene_id, "scene_frame_prompt"], "Other")
    daemon.tick()
    studio.sql(
        "UPDATE scenes SET content_changed_at = now() - interval '1 hour', wanted_at = now()"
    )

    assert ranges(daemon.tick()) == [
        ("film/scene_1", "film/scene_1"),
        ("film/scene_3", "film/scene_3"),
    ]


def test_keys_that_the_instance_has_are_never_in_one_range_with_new_ones(
    daemon: Daemon, studio: Studio
) -> None:
    """Between the tick and its keys another process may add its own."""
    register_partitions(daemon.instance, "film", [partition_key("film", "scene_1")])
    insert(studio, film(["One", "Two", "Three"]))

    assert ranges(daemon.tick()) == [
        ("film/scene_1", "film/scene_1"),
        ("film/scene_2", "film/scene_3"),
    ]


def test_foreign_keys_within_a_range_are_left_alone(daemon: Daemon, studio: Studio) -> None:
    insert(studio, film(["One"], key="film"))
    [request] = daemon.tick()
    insert(studio, film(["One"], key="other"))
    register_partitions(daemon.instance, "other", ["other/scene_1"])
    register_partitions(daemon.instance, "film", ["film/scene_2"])
    wide = request.with_replaced_attrs(tags={**request.tags, END: "film/scene_2"})
    studio.edit(["scenes", "scene_2"], {"scene_frame_prompt": "Two"})

    daemon.execute([wide])

    rows = studio.sql(
        "SELECT DISTINCT p.key FROM generations g JOIN projects p ON p.id = g.project_id"
    )
    assert rows == [{"key": "film"}]


@pytest.mark.parametrize("is_scratch", [False, True])
def test_archived_projects_begin_nothing(daemon: Daemon, studio: Studio, is_scratch: bool) -> None:
    insert(studio, film(["Dawn"]))
    studio.bring(film(["Dusk"], key="planned"))
    studio.sql("UPDATE projects SET archived_at = now(), is_scratch = %s", is_scratch)

    assert daemon.tick() == []
    assert studio.sql("SELECT 1 FROM scenes WHERE wanted_at IS NOT NULL") == []

    studio.sql("UPDATE projects SET is_scratch = false, archived_at = NULL")
    assert len(daemon.tick()) == 2


def test_a_scene_without_a_usable_id_does_not_stop_the_others(
    daemon: Daemon, studio: Studio
) -> None:
    insert(studio, film({"good": "Dawn", "x" * 300: "Too long"}))

    assert ranges(daemon.tick()) == [("film/good", "film/good")]
    assert studio.sql("SELECT scene_id FROM scenes WHERE wanted_at <= now()") == []
