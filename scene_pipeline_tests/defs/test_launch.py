"""Launching in this process, as `scene-pipeline run` does: ranges, outcomes, interruption."""

import os
import signal
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from scene_pipeline.defs.dead_runs import end_dead_runs
from scene_pipeline.defs.launch import launch_frames, launch_storyboard
from scene_pipeline.defs.partitions import SCENES_NAME, contiguous_ranges, register_partitions
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ConfigurationError, NotFoundError
from scene_pipeline.pipeline.orders import SceneOutcome, StreamEvent
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio, assert_invariants, film

PROMPTS = {f"scene_{number}": f"Shot {number}" for number in range(1, 7)}


def test_a_project_is_one_run_that_the_ui_can_show(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    seen: list[StreamEvent] = []

    launched = launch_frames(
        instance, replace(runtime, observer=seen.append), "film", list(PROMPTS), mode="ensure"
    )

    assert {one.scene.scene_id: one.status for one in launched.outcomes} == dict.fromkeys(
        PROMPTS, "generated"
    )
    told = [one for one in seen if isinstance(one, SceneOutcome)]
    assert sorted(told, key=lambda one: one.scene) == sorted(
        launched.outcomes, key=lambda one: one.scene
    )
    [run_id] = launched.run_ids
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert run.job_name == "frames"
    assert run.tags["scene_pipeline/project"] == "film"
    assert instance.get_dynamic_partitions("projects") == ["film"]
    assert instance.get_dynamic_partitions("scenes") == [f"film/{one}" for one in PROMPTS]


def test_a_scattered_choice_runs_nothing_between(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register_partitions(instance, "film", [f"film/{one}" for one in PROMPTS])

    launched = launch_frames(
        instance, runtime, "film", ["scene_1", "scene_2", "scene_5"], mode="ensure"
    )

    assert len(launched.run_ids) == 2
    assert studio.sql("SELECT scene_id FROM generations ORDER BY 1") == [
        {"scene_id": one} for one in ("scene_1", "scene_2", "scene_5")
    ]


def test_failed_scenes_are_outcomes_and_no_error(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film({"good": "Dawn", "bad": " "}))

    launched = launch_frames(instance, runtime, "film", ["good", "bad"], mode="ensure")

    assert {one.scene.scene_id: one.status for one in launched.outcomes} == {
        "good": "generated",
        "bad": "invalid",
    }
    run = instance.get_run_by_id(launched.run_ids[0])
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_what_stops_everything_is_raised_as_itself(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    settings = runtime.settings.model_copy(update={"storage_url": "nowhere://bucket"})

    with pytest.raises(ConfigurationError) as caught:
        launch_frames(
            instance, replace(runtime, settings=settings), "film", ["scene_1"], mode="ensure"
        )

    assert caught.value.error_code == "storage_url_invalid"

    [run] = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_an_interrupt_cancels_the_run_and_the_next_launch_goes_on(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))

    def interrupt(event: StreamEvent) -> None:
        if isinstance(event, SceneOutcome):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        launch_frames(
            instance, replace(runtime, observer=interrupt), "film", list(PROMPTS), mode="ensure"
        )

    [run] = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    launched = launch_frames(instance, runtime, "film", list(PROMPTS), mode="ensure")
    assert {one.status for one in launched.outcomes} <= {"generated", "kept"}
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": len(PROMPTS)}]
    assert_invariants(studio)


def test_one_cap_holds_for_all_ranges_of_a_launch(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio, tmp_path: Path
) -> None:
    studio.bring(film(PROMPTS))
    register_partitions(instance, "film", [f"film/{one}" for one in PROMPTS])
    with FalStandIn(tmp_path / "fal") as fal:
        settings = load_settings(
            home=runtime.settings.home,
            fal_key=fal.key,
            egress_proxy=fal.proxy_url,
            ssl_cert_file=fal.ca_file,
        )
        launched = launch_frames(
            instance,
            replace(runtime, settings=settings),
            "film",
            ["scene_1", "scene_3"],
            mode="ensure",
            max_cost_usd=Decimal(1),
        )

    first, second = (instance.get_run_by_id(run_id) for run_id in launched.run_ids)
    assert first is not None
    assert second is not None
    [spent] = {one.cost_usd for one in launched.outcomes}
    assert spent > 0
    assert _cap(first) == Decimal(1)
    assert _cap(second) == Decimal(1) - spent


def _cap(run: dg.DagsterRun) -> Decimal:
    ops: Any = run.run_config["ops"]
    return Decimal(str(ops["stream_frames"]["config"]["max_cost_usd"]))


def test_a_sheet_is_drawn_and_an_unknown_project_is_told(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))

    launch_storyboard(instance, runtime, "film")

    assert instance.get_materialized_partitions(dg.AssetKey("storyboard")) == {"film"}
    with pytest.raises(NotFoundError):
        launch_storyboard(instance, runtime, "unknown")


def test_a_run_whose_process_lives_is_left_alone(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    ended: list[str] = []

    def look(event: StreamEvent) -> None:
        if isinstance(event, SceneOutcome):
            ended.extend(end_dead_runs(instance))

    launched = launch_frames(
        instance, replace(runtime, observer=look), "film", ["scene_1"], mode="ensure"
    )

    assert ended == []
    run = instance.get_run_by_id(launched.run_ids[0])
    assert run is not None
    assert run.status is dg.DagsterRunStatus.SUCCESS


def test_partitions_are_registered_once_and_in_order(instance: dg.DagsterInstance) -> None:
    keys = [f"film/scene_{number}" for number in range(2500)]

    register_partitions(instance, "film", keys)
    register_partitions(instance, "film", [*keys[:3], "film/late"])

    assert instance.get_dynamic_partitions(SCENES_NAME) == [*keys, "film/late"]


@pytest.mark.parametrize(
    ("wanted", "max_length", "expected"),
    [
        ("abc", 10, ["abc"]),
        ("acd", 10, ["a", "cd"]),
        ("abcdef", 2, ["ab", "cd", "ef"]),
        ("abdef", 2, ["ab", "de", "f"]),
        ("f", 10, ["f"]),
        ("", 10, []),
    ],
)
def test_ranges_are_as_few_as_possible(wanted: str, max_length: int, expected: list[str]) -> None:
    ranges = contiguous_ranges("abcdef", wanted, max_length=max_length)

    assert ["".join(one.keys) for one in ranges] == expected
