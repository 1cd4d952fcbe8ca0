"""Contact sheets follow their frames: one run per burst, never a stuck one, never a flood."""

import dagster as dg

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.launch import launch_storyboard
from scene_pipeline.defs.metadata import REASON_TAG
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sensors.dead_runs import dead_runs
from scene_pipeline.defs.sensors.stale_storyboards import stale_storyboards
from scene_pipeline_tests.films import Studio, film


def tick(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(
        instance=instance, definitions=build_definitions(resources={"pipeline": runtime})
    )
    result = stale_storyboards(context, pipeline=runtime)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def requests(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or [])


def project_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> None:
    instance.add_dynamic_partitions("projects", ["film"])
    instance.create_run_for_job(
        build_definitions().resolve_job_def("storyboards"),
        tags={"dagster/partition": "film", "scene_pipeline/project": "film", **tags},
        status=status,
    )


def test_new_frames_ask_for_one_sheet(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn", "Dusk"]))
    assert isinstance(tick(instance, runtime), dg.SkipReason)
    studio.run()

    [request] = requests(tick(instance, runtime))
    [again] = requests(tick(instance, runtime))

    assert request.partition_key == "film"
    assert request.run_key == again.run_key
    launch_storyboard(instance, runtime, "film")
    assert isinstance(tick(instance, runtime), dg.SkipReason)


def test_the_tick_brings_the_partition_that_it_asks_for(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()

    result = tick(instance, runtime)

    assert isinstance(result, dg.SensorResult)
    [added] = result.dynamic_partitions_requests or []
    assert list(added.partition_keys) == ["film"]


def test_a_sheet_waits_for_the_end_of_the_work(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    project_run(instance, dg.DagsterRunStatus.STARTED)

    assert isinstance(tick(instance, runtime), dg.SkipReason)


def test_a_failed_sheet_is_tried_again_but_not_for_ever(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    run_keys = []
    for _ in range(3):
        [request] = requests(tick(instance, runtime))
        run_keys.append(request.run_key)
        assert request.tags[REASON_TAG] == "frames changed since the last sheet"
        project_run(instance, dg.DagsterRunStatus.FAILURE, **request.tags)

    assert len(set(run_keys)) == 3  # Dagster launches the same key never again
    assert isinstance(tick(instance, runtime), dg.SkipReason)


def test_sensors_are_on_by_default_since_they_spend_nothing() -> None:
    for sensor in (stale_storyboards, dead_runs):
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_the_sensor_of_dead_runs_says_what_it_did() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        reason = dead_runs(dg.build_sensor_context(instance=instance))

    assert isinstance(reason, dg.SkipReason)
    assert "every" in str(reason.skip_message).lower()
