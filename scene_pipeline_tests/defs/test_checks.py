"""Results of checks at their scenes: in runs, by selection, without a run, and by the sweep."""

import asyncio
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from scene_pipeline.database.turns import turn
from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.checks import check_specs, report_standing
from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.partitions import SCENES_NAME, register_partitions
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.schedules import truth_sweep_hourly
from scene_pipeline.pipeline.checks import CHECKS
from scene_pipeline.scenes.identity import partition_key
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.media_server import free_port, serving

PROMPTS = {"one": "A lighthouse at dawn", "two": "A storm", "bad": "  "}
OF_IMAGE = {check.name for check in CHECKS if check.asset == "scene_image"}
OF_DOCUMENT = {check.name for check in CHECKS if check.asset == "scene_start_frame"}
URL = "url_serves_the_stored_bytes"


@pytest.fixture
def studio(database_url: str, tmp_path: Path) -> Studio:
    """Frames with addresses on a port of their own; nobody listens there yet."""
    settings = load_settings(home=tmp_path / "home", public_url=f"http://127.0.0.1:{free_port()}")
    studio = Studio(settings, database_url)
    studio.bring(film(PROMPTS))
    return studio


@pytest.fixture(autouse=True)
def _scenes(instance: dg.DagsterInstance) -> None:
    register_partitions(instance, "film", [partition_key("film", scene) for scene in PROMPTS])


def execute(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    *,
    selection: list[str] | None = None,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    keys = instance.get_dynamic_partitions(SCENES_NAME)
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("frames")
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config=dg.RunConfig(ops={"stream_frames": FramesConfig(**config)}),
        asset_selection=[dg.AssetKey(name) for name in selection] if selection else None,
        tags={
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        },
    )


def sweep(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, **config: int
) -> dg.ExecuteInProcessResult:
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("truth_sweep")
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"ask_current_urls": {"config": config}}},
    )


def numbers(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata beside the op's output."""
    assert result.success
    [output] = [
        event.step_output_data
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT
    ]
    assert output is not None
    return {name: value.value for name, value in output.metadata.items()}


def results(url: str) -> dict[str, dict[str, str]]:
    """The last status of each check by partition, as the UI finds it.

    It counts only where it is about the newest materialization of its scene, if there is one.
    """
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT DISTINCT ON (c.partition, c.check_name) c.partition, c.check_name,"
            " CASE WHEN m.id IS DISTINCT FROM c.materialization_event_storage_id"
            " AND m.id IS NOT NULL THEN 'MISSING' ELSE c.execution_status END"
            " FROM asset_check_executions c LEFT JOIN LATERAL (SELECT max(e.id) AS id"
            "   FROM event_logs e WHERE e.dagster_event_type = 'ASSET_MATERIALIZATION'"
            "   AND e.asset_key = c.asset_key AND e.partition = c.partition) m ON true"
            " ORDER BY c.partition, c.check_name, c.id DESC"
        ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for partition, name, status in rows:
        found.setdefault(partition, {})[name] = status
    return found


def test_every_check_is_in_the_catalogue_with_its_meaning() -> None:
    specs = {spec.name: spec for spec in check_specs()}

    assert list(specs) == [check.name for check in CHECKS]
    for check in CHECKS:
        spec = specs[check.name]
        assert spec.asset_key == dg.AssetKey(check.asset)
        assert spec.partitions_def is not None
        assert spec.description is not None
        assert check.meaning in spec.description
        assert ("A version that fails it never" in spec.description) is check.blocks_promotion


def test_a_batched_run_with_a_failing_scene_tells_each_scene_s_results(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime
) -> None:
    result = execute(instance, runtime)

    assert not result.success, "the scene without a prompt fails the run"
    expected = dict.fromkeys((OF_IMAGE | OF_DOCUMENT) - {URL}, "SUCCEEDED")
    assert results(instance_url) == {"film/one": expected, "film/two": expected}
    told = {
        (found.partition, found.check_name): found for found in result.get_asset_check_evaluations()
    }
    size = told["film/one", "size_as_requested"]
    assert size.severity == dg.AssetCheckSeverity.WARN
    assert size.description == "64 x 64 pixels, as asked for."
    assert size.metadata["version"].value == 1
    assert size.metadata["scene"].value == "one"

    again = execute(instance, runtime, mode="ensure")

    assert len(again.get_asset_check_evaluations()) == len(told), "kept scenes are checked too"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (["scene_image"], OF_IMAGE - {URL}),
        (["scene_start_frame"], OF_DOCUMENT),
        (["scene_prompt"], set()),
    ],
    ids=["scene_image", "scene_start_frame", "scene_prompt"],
)
def test_only_checks_of_selected_assets_are_told(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    selection: list[str],
    expected: set[str],
) -> None:
    studio.run("one", "two")

    result = execute(instance, runtime, selection=selection, mode="ensure")

    assert {found.check_name for found in result.get_asset_check_evaluations()} == expected


def test_checks_alone_change_nothing(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.run("one", "two")
    definitions = build_definitions(resources={"pipeline": runtime})
    check = dg.AssetCheckKey(dg.AssetKey("scene_start_frame"), "prompt_unchanged_since")
    job = dg.define_asset_job("judge", selection=dg.AssetSelection.checks(check))
    [frames] = [
        one for one in definitions.assets or () if isinstance(one, dg.AssetsDefinition)
        and dg.AssetKey("scene_image") in one.keys
    ]  # fmt: skip
    judged = dg.Definitions(
        [frames], jobs=[job], resources={"pipeline": runtime}, executor=dg.in_process_executor
    ).resolve_job_def("judge")
    keys = instance.get_dynamic_partitions(SCENES_NAME)

    result = judged.execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        },
    )

    told = result.get_asset_check_evaluations()
    assert {(found.partition, found.check_name) for found in told} == {
        ("film/one", check.name),
        ("film/two", check.name),
    }
    assert result.get_asset_materialization_events() == []
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]


def test_an_edit_turns_a_check_red_without_a_run_and_a_new_frame_turns_it_green(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    execute(instance, runtime)
    assert report_standing(instance, runtime, "film") == 0
    studio.edit(["scenes", "one", "scene_frame_prompt"], "A lighthouse at dusk")

    assert report_standing(instance, runtime, "film") == 1

    assert results(instance_url)["film/one"]["prompt_unchanged_since"] == "FAILED"
    assert results(instance_url)["film/two"]["prompt_unchanged_since"] == "SUCCEEDED"
    execute(instance, runtime, mode="ensure", refresh_stale=True)
    assert results(instance_url)["film/one"]["prompt_unchanged_since"] == "SUCCEEDED"


def test_results_of_scenes_that_dagster_does_not_list_are_kept_and_not_reported(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.run("one", "two")
    studio.sql("DELETE FROM frame_checks")
    instance.delete_dynamic_partition(SCENES_NAME, "film/one")

    assert report_standing(instance, runtime, "film") == len(OF_DOCUMENT)

    assert results(instance_url).keys() == {"film/two"}
    assert {row["scene_id"] for row in studio.sql("SELECT scene_id FROM frame_checks")} == {
        "one",
        "two",
    }


def test_a_sweep_tells_numbers_and_fails_where_urls_do_not_serve_their_bytes(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    execute(instance, runtime)
    [row] = studio.sql("SELECT storage_path FROM scene_images WHERE scene_id = 'two'")
    frame = studio.settings.home_directory / "frames" / str(row["storage_path"])
    down = sweep(instance, runtime)
    with serving(studio.settings):
        sound = sweep(instance, runtime, requests=10)
        frame.unlink()
        broken = sweep(instance, runtime)

    assert numbers(down) == {
        "checked": 0,
        "passed": 0,
        "failed": 0,
        "unreachable": 0,
        "left_out": 2,
    }
    assert numbers(sound)["passed"] == 2
    assert results(instance_url)["film/one"][URL] == "SUCCEEDED"
    assert results(instance_url)["film/two"][URL] == "FAILED"
    assert not broken.success
    [failed] = broken.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert failure.description is not None
    assert "film/two" in failure.description
    assert "scene-pipeline reconcile film" in failure.description
    assert failure.metadata["failed"].value == 1
    assert failure.metadata["passed"].value == 1


def test_the_second_sweep_leaves_it_to_the_first(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    async def hold_the_turn(_: object) -> dg.ExecuteInProcessResult:
        async with turn(studio.database_url, "truth_sweep") as is_ours:
            assert is_ours
            return await asyncio.to_thread(sweep, instance, runtime)

    result = studio.do(hold_the_turn)

    assert numbers(result) == {"left_to_another_run": True}


def test_the_schedule_launches_a_sweep_unless_there_is_no_budget(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.build_schedule_context(instance=instance) as context:
        launched = truth_sweep_hourly.evaluate_tick(context)
        monkeypatch.setenv("SCENE_PIPELINE_TRUTH_SWEEP_REQUESTS", "0")
        skipped = truth_sweep_hourly.evaluate_tick(context)

    assert len(launched.run_requests or []) == 1
    assert skipped.run_requests == []
    assert "TRUTH_SWEEP_REQUESTS is 0" in (skipped.skip_message or "")
