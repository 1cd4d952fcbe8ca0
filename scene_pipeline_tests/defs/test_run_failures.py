"""The sensor that tells people: scenes by the ledger, runs that failed as a whole by Dagster."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs import failed_runs
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sensors.run_failures import run_failures
from scene_pipeline.defs.upkeep_work import as_dagster_failure
from scene_pipeline.errors import ConfigurationError, DatabaseError
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.webhook import WebhookReceiver, webhook_receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[WebhookReceiver]:
    with webhook_receiver(tmp_path) as running:
        yield running


@pytest.fixture
def told(studio: Studio, receiver: WebhookReceiver) -> PipelineRuntime:
    settings = load_settings(home=studio.settings.home, **receiver.settings)
    return PipelineRuntime(settings, studio.database_url)


def tick(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> str:
    context = dg.build_sensor_context(
        instance=instance, definitions=build_definitions(resources={"pipeline": runtime})
    )
    result = run_failures(context, pipeline=runtime)
    assert isinstance(result, dg.SkipReason)
    return result.skip_message or ""


def execute(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, scene_id: str, **config: Any
) -> str:
    """Run the frames job on one scene of the film, as the UI would."""
    key = f"film/{scene_id}"
    instance.add_dynamic_partitions("scenes", [key])
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("frames")
    result = job.execute_in_process(
        partition_key=key,
        instance=instance,
        raise_on_error=False,
        tags={"scene_pipeline/project": "film"},
        run_config={"ops": {"stream_frames": {"config": config}}},
    )
    assert not result.success
    return result.run_id


def failed_run(instance: dg.DagsterInstance, job: str = "frames", **tags: str) -> str:
    """A run that Dagster took for failed, without a word from any op."""
    instance.add_dynamic_partitions("scenes", ["film/scene_1"])
    run = instance.create_run_for_job(
        build_definitions().resolve_job_def(job),
        tags={"dagster/partition": "film/scene_1", "scene_pipeline/project": "film", **tags},
        status=dg.DagsterRunStatus.STARTED,
    )
    instance.report_run_failed(run, "The process that executed this run is gone.")
    return run.run_id


def test_a_failed_scene_is_told_and_its_run_is_not_told_again(
    instance: dg.DagsterInstance,
    studio: Studio,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
) -> None:
    studio.bring(film(["Dawn"]))
    priced = replace(
        told, settings=told.settings.model_copy(update={"fal_key": "x", "provider": "fal"})
    )
    run_id = execute(instance, priced, "scene_1", max_cost_usd=0)
    studio.sql("UPDATE alerts SET due_at = now()")

    messages = [tick(instance, told) for _ in range(3)]

    assert messages[0] == "Told 1 messages to the webhook."
    assert messages[1:] == ["Nothing to tell."] * 2
    [text] = receiver.texts
    assert "film" in text
    assert "scene_1" in text
    [row] = studio.sql("SELECT outcome FROM alerts WHERE fingerprint = %s", f"run:{run_id}")
    assert row["outcome"] == "outdated"


def test_a_provider_without_its_key_is_told_once(
    instance: dg.DagsterInstance,
    studio: Studio,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
) -> None:
    """By the ledger, where it is noted on what waits for the key; the failed run adds nothing."""
    studio.bring(film(["Dawn"]))

    for _ in range(2):
        execute(instance, told, "scene_1", provider="fal")
        studio.sql("UPDATE alerts SET due_at = now() WHERE settled_at IS NULL")
        tick(instance, told)

    [text] = receiver.texts
    assert text.startswith("Failed: film [fal_key_missing]")
    assert "scene_1" in text
    assert "Set FAL_KEY" in text


def test_a_run_that_failed_as_a_whole_is_told_once(
    instance: dg.DagsterInstance,
    studio: Studio,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
) -> None:
    run_id = execute(instance, told, "scene_1")  # there is no such project

    for _ in range(3):
        tick(instance, told)

    [text] = receiver.texts
    assert text.startswith("Run failed [run_failed]")
    assert run_id in text
    assert "[project_unknown] There is no project 'film'. Run `scene-pipeline status`" in text
    assert studio.sql("SELECT count(*) AS n FROM alerts")[0]["n"] == 1


def test_a_run_without_a_database_is_told_in_our_words_and_not_in_the_drivers(
    instance: dg.DagsterInstance,
    studio: Studio,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studio.bring(film(["Dawn"]))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    job = build_definitions().resolve_job_def("reconcile")
    never_again = {"dagster/max_retries": "0"}
    assert not job.execute_in_process(
        instance=instance, raise_on_error=False, tags=never_again
    ).success

    tick(instance, told)

    [text] = receiver.texts
    assert "[database_unavailable] The database " in text
    assert "Start it, or correct DATABASE_URL" in text
    assert "psycopg" not in text
    assert "scene_pipeline.errors" not in text


def test_a_run_that_names_many_scenes_is_told_with_its_next_action(
    instance: dg.DagsterInstance,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
) -> None:
    scenes = ", ".join(f"film/a-scene-with-a-long-name-{number}" for number in range(40))
    action = "See what is lost and can be repaired: `scene-pipeline reconcile film`."

    @dg.op
    def sweep() -> None:
        raise as_dagster_failure(Failure("urls_broken", f"Broken: {scenes}.", action), {})

    @dg.job(name="truth_sweep", executor_def=dg.in_process_executor)
    def truth_sweep() -> None:
        sweep()

    truth_sweep.execute_in_process(instance=instance, raise_on_error=False)

    tick(instance, told)

    [text] = receiver.texts
    assert "The run failed: [urls_broken] Broken: film/a-scene-with-a-long-name-0, " in text
    assert f"{action} Next: See the run in Dagster's UI." in text


def test_a_run_whose_process_died_is_told_unless_it_is_launched_again(
    instance: dg.DagsterInstance,
    studio: Studio,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
) -> None:
    studio.bring(film(["Dawn"]))
    retried = failed_run(instance)
    run = instance.get_run_by_id(retried)
    assert run is not None
    assert run.tags["dagster/will_retry"] == "true"
    final = failed_run(instance, **{"dagster/max_retries": "0"})

    tick(instance, told)

    [text] = receiver.texts
    assert "Run failed: film [run_failed]" in text
    assert "The process that executed this run is gone." in text
    assert final in text
    assert retried not in text


def test_another_code_locations_runs_are_not_ours(
    instance: dg.DagsterInstance, told: PipelineRuntime, receiver: WebhookReceiver
) -> None:
    @dg.op
    def fails() -> None:
        raise RuntimeError

    @dg.job(name="somebody_elses")
    def other() -> None:
        fails()

    other.execute_in_process(instance=instance, raise_on_error=False)

    assert tick(instance, told) == "Nothing to tell."
    assert receiver.posts == []


def test_every_job_of_ours_is_told(
    instance: dg.DagsterInstance, studio: Studio, told: PipelineRuntime
) -> None:
    jobs = [job.name for job in build_definitions().resolve_all_job_defs()]
    failed = {failed_run(instance, job, **{"dagster/max_retries": "0"}): job for job in jobs}

    tick(instance, told)

    rows = studio.sql("SELECT run_id FROM alerts WHERE code = 'run_failed'")
    assert {failed[row["run_id"]] for row in rows} == {*jobs}
    assert {"portfolio", "truth_sweep", "storyboards"} <= {*jobs}


def test_many_failed_runs_share_messages_and_a_look_is_bounded(
    instance: dg.DagsterInstance,
    studio: Studio,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failed_runs, "MAX_RUNS_PER_LOOK", 3)
    studio.bring(film(["Dawn"]))
    run_ids = [failed_run(instance, **{"dagster/max_retries": "0"}) for _ in range(7)]

    for _ in range(4):
        tick(instance, told)

    assert len(receiver.posts) == 3
    assert sorted(row["run_id"] for row in studio.sql("SELECT run_id FROM alerts")) == sorted(
        run_ids
    )


def test_a_look_that_died_is_taken_up_by_the_next(
    instance: dg.DagsterInstance,
    told: PipelineRuntime,
    receiver: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed_run(instance, **{"dagster/max_retries": "0"})
    with monkeypatch.context() as patch:
        patch.setattr(failed_runs, "_judge", None)
        with pytest.raises(TypeError):
            tick(instance, told)

    tick(instance, told)

    assert len(receiver.posts) == 1


def test_a_database_that_cannot_be_read_fails_the_tick(
    instance: dg.DagsterInstance, told: PipelineRuntime
) -> None:
    gone = PipelineRuntime(told.settings, "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")

    with pytest.raises(DatabaseError, match=r"^\[database_unavailable\] .*`scene-pipeline doctor`"):
        tick(instance, gone)


def test_a_webhook_that_cannot_be_used_fails_the_tick_and_loses_nothing(
    instance: dg.DagsterInstance, studio: Studio, told: PipelineRuntime, receiver: WebhookReceiver
) -> None:
    failed_run(instance, **{"dagster/max_retries": "0"})
    wrong = load_settings(alert_webhook_url="http://hooks.example/secret")

    with pytest.raises(ConfigurationError):
        tick(instance, PipelineRuntime(wrong, studio.database_url))
    tick(instance, told)

    assert len(receiver.posts) == 1


def test_without_a_webhook_the_log_is_told(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    failed_run(instance, **{"dagster/max_retries": "0"})

    assert tick(instance, runtime) == "Told 1 messages to the log."
    assert tick(instance, runtime) == "Nothing to tell."


def test_the_sensor_is_on_by_default_since_it_spends_nothing() -> None:
    assert run_failures.default_status is dg.DefaultSensorStatus.RUNNING
    assert "spends nothing" in (run_failures.description or "")
