"""Jobs, schedules and the sensor of upkeep: what they do, tell, and never do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from scene_pipeline.database.turns import turn
from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.launch import launch_frames
from scene_pipeline.defs.metadata import HEAL_STATE_TAG, REASON_TAG
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.schedules import (
    SCHEDULES,
    collection_nightly,
    price_refresh_daily,
    reconcile_hourly,
)
from scene_pipeline.defs.sensors.external_images import external_images
from scene_pipeline.defs.upkeep import UPKEEP_JOBS
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import DatabaseError
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.defs.jobs import numbers, run_job
from scene_pipeline_tests.films import Studio, assert_invariants, film


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[FalStandIn]:
    """Fal, as far as the pipeline can tell."""
    with FalStandIn(tmp_path / "fal", hang_seconds=5.0) as standin:
        yield standin


@pytest.fixture
def fal_studio(database_url: str, tmp_path: Path, fal: FalStandIn) -> Studio:
    """The pipeline with Fal's stand-in, whose pictures have addresses."""
    settings = load_settings(
        home=tmp_path / "home",
        fal_key=fal.key,
        egress_proxy=fal.proxy_url,
        ssl_cert_file=fal.ca_file,
    )
    return Studio(settings, database_url)


def runtime_of(studio: Studio, **update: object) -> PipelineRuntime:
    return PipelineRuntime(studio.settings.model_copy(update=update), studio.database_url)


@contextmanager
def store_down(studio: Studio) -> Iterator[None]:
    """A file where the local store's directory should be."""
    directory = studio.settings.home_directory / "frames"
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.write_text("a file where the store's directory should be")
    try:
        yield
    finally:
        directory.unlink()


def failure_words(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    [failed] = [
        event.step_failure_data
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_FAILURE
    ]
    assert failed is not None
    assert failed.user_failure_data is not None
    return failed.user_failure_data.description or ""


def tick(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_sensor_context(
        instance=instance, definitions=build_definitions(resources={"pipeline": runtime})
    )
    result = external_images(context, pipeline=runtime)
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return result


def external_film(
    instance: dg.DagsterInstance, studio: Studio, prompts: list[str]
) -> PipelineRuntime:
    """Frames that were made while the store was down, and whose time to be healed has come."""
    studio.bring(film(prompts))
    runtime = runtime_of(studio)
    with store_down(studio):
        scene_ids = [f"scene_{number}" for number in range(1, len(prompts) + 1)]
        launch_frames(instance, runtime, "film", scene_ids, mode="ensure")
    make_due(studio)
    return runtime


def make_due(studio: Studio) -> None:
    studio.sql("UPDATE generations SET heal_at = now() WHERE heal_at IS NOT NULL")


def materializations(instance: dg.DagsterInstance, asset: str, key: str) -> list[Any]:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key]), limit=10
    ).records
    return [record.asset_materialization for record in records]


def test_no_job_of_upkeep_pays_and_each_says_so() -> None:
    for job in UPKEEP_JOBS:
        assert job.description is not None
        assert "spends nothing" in job.description.lower()


def test_healing_is_shown_at_the_scenes(
    instance: dg.DagsterInstance, fal_studio: Studio, fal: FalStandIn
) -> None:
    runtime = external_film(instance, fal_studio, ["A lighthouse", "A storm"])

    result = run_job(instance, runtime, "heal")

    assert numbers(result) == {"healed": 2, "still_external": 0}
    for asset in ("scene_image", "scene_start_frame"):
        newest = materializations(instance, asset, "film/scene_1")[0]
        assert newest.metadata["storage_status"].value == "stored"
        assert newest.metadata["url"].value == fal_studio.start_frame("scene_1")
        assert newest.metadata["healed"].value is True
        assert newest.metadata["attempts_total"].value == 1
        # The picture came home long after it was made: that says nothing of storing.
        assert "generation_seconds" in newest.metadata
        assert "storing_seconds" not in newest.metadata
    assert len(fal.meter.accepted) == 2
    assert_invariants(fal_studio)


def test_healing_that_fails_says_what_to_do_and_the_sensor_waits(
    instance: dg.DagsterInstance, fal_studio: Studio
) -> None:
    runtime = external_film(instance, fal_studio, ["A lighthouse"])
    with store_down(fal_studio):
        words = failure_words(run_job(instance, runtime, "heal", only_due=True))

    assert "film/scene_1 version 1: [" in words
    assert "scene-pipeline doctor" in words
    assert isinstance(tick(instance, runtime), dg.SkipReason)


def test_the_sensor_launches_what_is_due_and_the_run_heals_it(
    instance: dg.DagsterInstance, fal_studio: Studio
) -> None:
    runtime = external_film(instance, fal_studio, ["A lighthouse"])

    request = tick(instance, runtime)
    again = tick(instance, runtime)  # the first tick died before its run came to be

    assert isinstance(request, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert request.run_key == again.run_key
    assert numbers(run_job(instance, runtime, "heal", only_due=True))["healed"] == 1
    assert isinstance(tick(instance, runtime), dg.SkipReason)


def test_the_sensor_waits_for_a_run_and_goes_on_after_one_that_never_began(
    instance: dg.DagsterInstance, fal_studio: Studio
) -> None:
    runtime = external_film(instance, fal_studio, ["A lighthouse"])
    job = build_definitions().resolve_job_def("heal")
    run_keys = []
    for _ in range(3):
        request = tick(instance, runtime)
        assert isinstance(request, dg.RunRequest)
        run_keys.append(request.run_key)
        run = instance.create_run_for_job(
            job, tags=dict(request.tags), status=dg.DagsterRunStatus.STARTING
        )
        assert HEAL_STATE_TAG in run.tags
        assert run.tags[REASON_TAG] == "pictures that are at their provider only: 1"
        waiting = tick(instance, runtime)
        assert isinstance(waiting, dg.SkipReason)
        instance.report_run_failed(run, "It could not start.")

    assert len(set(run_keys)) == 3
    assert isinstance(tick(instance, runtime), dg.SkipReason)  # not for ever in a row


def test_the_sensor_fails_visibly_without_a_database(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    runtime = PipelineRuntime(studio.settings, "postgresql://nobody@127.0.0.1:1/nothing")

    with pytest.raises(DatabaseError, match=r"^\[database_unavailable\] .*`scene-pipeline doctor`"):
        tick(instance, runtime)


def test_reconciling_repairs_unless_it_is_switched_off(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()
    url = studio.start_frame("scene_1")
    studio.sql(
        "UPDATE projects SET master_json = master_json #- '{scenes,scene_1,scene_start_frame}'"
    )

    told = numbers(run_job(instance, runtime_of(studio, reconcile_apply=False), "reconcile"))
    assert (told["found"], told["repaired"]) == (1, 0)
    assert studio.start_frame("scene_1") is None
    repaired = numbers(run_job(instance, runtime_of(studio), "reconcile"))

    assert (repaired["found"], repaired["repaired"]) == (0, 1)
    assert studio.start_frame("scene_1") == url


def test_reconciling_fails_where_the_store_cannot_be_asked(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()
    root = studio.settings.home_directory / "frames"
    root.rename(root.with_name("aside"))
    root.write_text("a file where the store's directory should be")

    words = failure_words(run_job(instance, runtime_of(studio), "reconcile"))

    assert words.startswith("[")
    assert "scene-pipeline doctor" in words


def test_collection_only_tells_until_it_is_switched_on(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    studio.bring(film(["A lighthouse"]))
    for token in ("a", "b"):
        studio.run(mode="regenerate", token=token)
    rule = {"keep_versions": 1, "keep_days": 0.0}

    told = numbers(run_job(instance, runtime_of(studio, **rule), "collection"))
    [before] = studio.sql("SELECT count(*) AS n FROM scene_images WHERE storage_status = 'stored'")
    done = numbers(run_job(instance, runtime_of(studio, **rule, collect_apply=True), "collection"))
    [after] = studio.sql("SELECT count(*) AS n FROM scene_images WHERE storage_status = 'stored'")

    assert told["old_versions"] == done["old_versions"] == 1
    assert told["freed_bytes"] == done["freed_bytes"] > 0
    [row] = told["projects"].records
    assert row.data["project"] == "film"
    assert (row.data["gives_up"], row.data["kept_current"]) == (1, 1)
    assert row.data["rule"] == "newest 1, younger than 0 days"
    assert (before["n"], after["n"]) == (2, 1)


def test_a_config_wins_over_the_setting(instance: dg.DagsterInstance, studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    for token in ("a", "b"):
        studio.run(mode="regenerate", token=token)
    rule = {"keep_versions": 1, "keep_days": 0.0, "collect_apply": True}

    run_job(instance, runtime_of(studio, **rule), "collection", apply=False)

    [row] = studio.sql("SELECT count(*) AS n FROM scene_images WHERE storage_status = 'stored'")
    assert row["n"] == 2


def test_renewing_prices_without_a_key_says_what_to_set(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    words = failure_words(run_job(instance, runtime_of(studio), "price_refresh"))

    assert words.startswith("[fal_key_missing]")
    assert "FAL_KEY" in words


def test_a_second_run_of_the_same_job_leaves_it_to_the_first(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    runtime = runtime_of(studio)

    async def meanwhile(_conn: object) -> dg.ExecuteInProcessResult:
        import asyncio  # noqa: PLC0415

        async with turn(studio.database_url, "collection") as is_ours:
            assert is_ours
            return await asyncio.to_thread(run_job, instance, runtime, "collection")

    result = runtime.in_database(meanwhile)

    assert numbers(result) == {"left_to_another_run": True}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(schedule.name))
def test_every_schedule_is_on_says_what_it_does_and_ticks(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "some-key")
    monkeypatch.chdir("/")
    context = dg.build_schedule_context(instance=instance)

    ticked = schedule.evaluate_tick(context)

    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.execution_timezone == "UTC"
    assert schedule.description is not None
    assert ticked.run_requests is not None
    assert len(ticked.run_requests) == 1


def test_a_schedule_leaves_it_at_a_run_that_is_still_at_work(instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(
        build_definitions().resolve_job_def("reconcile"), status=dg.DagsterRunStatus.STARTED
    )
    context = dg.build_schedule_context(instance=instance)

    assert isinstance(reconcile_hourly(context), dg.SkipReason)
    assert isinstance(collection_nightly(context), dg.RunRequest)


def test_without_a_key_nobody_is_asked_for_prices(instance: dg.DagsterInstance) -> None:
    skipped = price_refresh_daily(dg.build_schedule_context(instance=instance))

    assert isinstance(skipped, dg.SkipReason)
    assert "FAL_KEY" in str(skipped.skip_message)
