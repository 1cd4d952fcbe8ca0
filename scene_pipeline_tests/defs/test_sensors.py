"""Contact sheets follow their frames: one run per burst, never a stuck one, never a flood."""

import dagster as dg
import psycopg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.launch import launch_storyboard
from scene_pipeline.defs.metadata import REASON_TAG
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sensors.dead_runs import dead_runs
from scene_pipeline.defs.sensors.stale_storyboards import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    stale_storyboards,
)
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


def make_sheet(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> bool:
    """A run of sheet and report, as the daemon launches it; gives whether it ended well."""
    instance.add_dynamic_partitions("projects", ["film"])
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("storyboards")
    return job.execute_in_process(
        instance=instance, partition_key="film", raise_on_error=False
    ).success


def end_sheet(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.FAILURE,
) -> str:
    """The run that a tick asks for, and that ends without a sheet; gives its key."""
    [request] = requests(tick(instance, runtime))
    project_run(instance, status, **request.tags)
    return str(request.run_key)


def let_pass(instance_url: str, seconds: float) -> None:
    """As if all runs had ended so much earlier."""
    with psycopg.connect(instance_url) as conn:
        conn.execute(
            "UPDATE runs SET update_timestamp = update_timestamp - make_interval(secs => %s)",
            (seconds,),
        )


def test_a_failed_sheet_is_tried_again_and_then_ever_more_rarely(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio, instance_url: str
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    run_keys = [end_sheet(instance, runtime) for _ in range(3)]

    for pause in (FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS):
        assert isinstance(tick(instance, runtime), dg.SkipReason)
        let_pass(instance_url, pause - 60)
        assert isinstance(tick(instance, runtime), dg.SkipReason)
        let_pass(instance_url, 60)
        run_keys.append(end_sheet(instance, runtime))

    assert len(set(run_keys)) == 5  # Dagster launches the same key never again


def test_a_sheet_that_failed_ever_so_often_is_tried_daily(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio, instance_url: str
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    [request] = requests(tick(instance, runtime))
    for _ in range(12):
        project_run(instance, dg.DagsterRunStatus.FAILURE, **request.tags)
    let_pass(instance_url, LONGEST_PAUSE_SECONDS - 60)
    assert isinstance(tick(instance, runtime), dg.SkipReason)

    let_pass(instance_url, 60)

    assert len(requests(tick(instance, runtime))) == 1


def test_frames_that_are_as_they_once_were_get_a_sheet_again(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    asked = []
    for locked in (True, False, True):
        studio.sql("UPDATE scenes SET locked = %s", locked)
        [request] = requests(tick(instance, runtime))
        asked.append(request)
        launch_storyboard(instance, runtime, "film")
        project_run(instance, dg.DagsterRunStatus.SUCCESS, **request.tags)

    assert asked[0].tags == asked[2].tags != asked[1].tags
    assert len({request.run_key for request in asked}) == 3


def test_a_sheet_whose_run_was_cancelled_is_asked_for_again(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    [first] = requests(tick(instance, runtime))
    assert first.tags[REASON_TAG] == "frames changed since the last sheet"
    project_run(instance, dg.DagsterRunStatus.CANCELED, **first.tags)

    [again] = requests(tick(instance, runtime))

    assert again.run_key != first.run_key


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED], ids=str
)
def test_a_sheet_that_stays_stale_is_not_made_for_ever_however_its_runs_end(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    instance_url: str,
    status: dg.DagsterRunStatus,
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    for _ in range(3):
        end_sheet(instance, runtime, status)

    assert isinstance(tick(instance, runtime), dg.SkipReason)
    let_pass(instance_url, FIRST_PAUSE_SECONDS)
    assert len(requests(tick(instance, runtime))) == 1


def test_runs_of_sheets_that_were_told_since_hold_up_no_further_one(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    for _ in range(3):
        end_sheet(instance, runtime)
    locked = "UPDATE scenes SET locked = %s"
    studio.sql(locked, True)
    launch_storyboard(instance, runtime, "film")

    studio.sql(locked, False)

    assert len(requests(tick(instance, runtime))) == 1


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        (
            "ALTER TABLE untold_frames RENAME TO away",
            "ALTER TABLE away RENAME TO untold_frames",
        ),
        (
            "ALTER TABLE pipeline_events RENAME TO away",
            "ALTER TABLE away RENAME TO pipeline_events",
        ),
    ],
    ids=["what the sheet's run tells", "the report"],
)
def test_what_fails_beside_the_sheet_is_tried_again_until_all_is_told(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    break_it: str,
    mend_it: str,
) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    # The second time nothing of the film has changed: somebody asks for its sheet by hand.
    for _ in range(2):
        studio.sql(break_it)
        assert not make_sheet(instance, runtime)
        studio.sql(mend_it)

        assert len(requests(tick(instance, runtime))) == 1
        assert make_sheet(instance, runtime)
        assert isinstance(tick(instance, runtime), dg.SkipReason)


def test_sensors_are_on_by_default_since_they_spend_nothing() -> None:
    for sensor in (stale_storyboards, dead_runs):
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_the_sensor_of_dead_runs_says_what_it_did() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        reason = dead_runs(dg.build_sensor_context(instance=instance))

    assert isinstance(reason, dg.SkipReason)
    assert "every" in str(reason.skip_message).lower()
