"""What the UI shows of a storyboard: which scenes are not ready and why, what goes to video."""

from typing import Any

import dagster as dg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs import storyboard as shown_by
from scene_pipeline.defs.launch import launch_storyboard
from scene_pipeline.defs.metadata import PROCESS_TAG
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.pipeline.reporting.storyboard import StoryboardLine
from scene_pipeline_tests.films import Studio, film


def materialize(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> tuple[dict[str, Any], str]:
    """Metadata by name, and the data version."""
    launch_storyboard(instance, runtime, "film")
    event = instance.get_latest_materialization_event(dg.AssetKey("storyboard"))
    assert event is not None
    assert event.asset_materialization is not None
    tags = event.asset_materialization.tags or {}
    return dict(event.asset_materialization.metadata), tags["dagster/data_version"]


def test_the_table_answers_which_scenes_are_not_ready_and_why(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn", "Dusk"]))
    studio.run("scene_1")

    values, before = materialize(instance, runtime)

    first, second = [record.data for record in values["scenes"].records]
    assert first == {
        "scene": "scene_2",
        "state": "missing",
        "is_ready": False,
        "version": None,
        "why": "no frame yet",
        "next_action": "scene-pipeline run film",
    }
    assert (second["scene"], second["is_ready"]) == ("scene_1", True)
    assert [record.data for record in values["to_video"].records] == [
        {"scene": "scene_1", "version": 1, "url": studio.start_frame("scene_1")}
    ]
    assert {column.name for column in values["scenes"].schema.columns} == set(first)
    assert (values["not_ready"].value, values["cost_usd"].value) == (1, 0.0)
    assert (values["scenes_current"].value, values["scenes_missing"].value) == (1, 1)
    assert values["page_url"].value.endswith(".html")
    assert values["start_frames_url"].value.endswith(".json")
    to_video = values["start_frames"].value["scenes"][0]
    assert to_video["url"] == studio.start_frame("scene_1")
    assert len(to_video["sha256"]) == 64

    studio.run("scene_2")
    assert materialize(instance, runtime)[1] != before


def test_a_large_film_shows_a_bounded_part_and_says_how_much_is_hidden(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shown_by, "ROWS_SHOWN", 3)
    monkeypatch.setattr(shown_by, "START_FRAMES_SHOWN", 2)
    studio.bring(film(["Dawn"] * 5))
    studio.run("scene_1")

    values, _ = materialize(instance, runtime)

    assert [record.data["is_ready"] for record in values["scenes"].records] == [False] * 3
    assert values["scenes_not_listed"].value == 2
    assert len(values["start_frames"].value["scenes"]) == 2
    assert values["start_frames"].value["scenes_not_listed"] == 3


def test_the_table_of_what_goes_to_video_says_how_many_it_leaves_out(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studio.bring(film(["Dawn"] * 3))
    studio.run()

    monkeypatch.setattr(shown_by, "ROWS_SHOWN", 2)
    part, _ = materialize(instance, runtime)
    monkeypatch.setattr(shown_by, "ROWS_SHOWN", 3)
    whole, _ = materialize(instance, runtime)

    assert [record.data["scene"] for record in part["to_video"].records] == [
        "scene_1",
        "scene_2",
        "and 1 more: see start_frames.json",
    ]
    assert [record.data["scene"] for record in whole["to_video"].records][2:] == ["scene_3"]


@pytest.mark.parametrize("asset", ["storyboard", "project_report"])
def test_a_run_is_tied_to_its_process_so_that_a_killed_one_keeps_no_other_back(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio, asset: str
) -> None:
    studio.bring(film(["Dawn"]))
    instance.add_dynamic_partitions("projects", ["film"])
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("storyboards")

    done = job.execute_in_process(
        instance=instance, partition_key="film", asset_selection=[dg.AssetKey(asset)]
    )

    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.tags[PROCESS_TAG].endswith(f"/{run.run_id}")


def test_a_command_is_told_why_a_storyboard_could_not_be_made(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    instance.add_dynamic_partitions("projects", ["film"])

    with pytest.raises(ScenePipelineError, match=r"^\[project_unknown\]"):
        launch_storyboard(instance, runtime, "film")


def test_the_catalogue_says_what_it_is_and_that_it_spends_nothing() -> None:
    graph = build_definitions().resolve_asset_graph()
    node = graph.get(dg.AssetKey("storyboard"))

    assert "spends nothing" in (node.description or "")
    assert node.owners
    assert node.tags["scene_pipeline/spends"] == "nothing"
    assert "dagster/column_schema" in node.metadata


def test_what_is_wrong_is_cut_in_the_table_and_what_cures_it_is_not() -> None:
    command = f"scene-pipeline resolve film --abandon --scene {'a-long-name-' * 30}"
    line = StoryboardLine(
        scene_id="scene_1",
        state="ambiguous",
        is_ready=False,
        version=None,
        why="The answer was lost. " * 100,
        next_action=command,
        url=None,
    )

    [shown] = shown_by._scenes_table([line]).records

    assert shown.data["next_action"] == command
    assert len(str(shown.data["why"])) == 300
