"""Results of checks at their scenes: of runs, selections, storyboards and the sweep."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from scene_pipeline.database.turns import turn
from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.checks import check_specs
from scene_pipeline.defs.partitions import PROJECTS_NAME, SCENES_NAME, register_partitions
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.schedules import truth_sweep_hourly
from scene_pipeline.defs.sensors.run_failures import run_failures
from scene_pipeline.pipeline.checks import CHECKS
from scene_pipeline.scenes.identity import partition_key, project_partition_key
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.defs.jobs import make_frames, numbers, run_job
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


def renew(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> int:
    """Make the project's storyboard; gives how many results of checks it told."""
    key = project_partition_key("film")
    instance.add_dynamic_partitions(PROJECTS_NAME, [key])
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("storyboards")
    result = job.execute_in_process(
        instance=instance,
        partition_key=key,
        asset_selection=[dg.AssetKey("storyboard")],
    )
    return told_in(result)


def told_in(result: dg.ExecuteInProcessResult) -> int:
    return sum(
        event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        for event in result.all_events
    )


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
    result = make_frames(instance, runtime)

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

    again = make_frames(instance, runtime, mode="ensure")

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

    result = make_frames(instance, runtime, selection=selection, mode="ensure")

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


def test_an_edit_turns_a_check_red_with_the_storyboard_and_a_new_frame_turns_it_green(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    make_frames(instance, runtime)
    assert renew(instance, runtime) == 0
    studio.edit(["scenes", "one", "scene_frame_prompt"], "A lighthouse at dusk")

    assert renew(instance, runtime) == 1

    assert results(instance_url)["film/one"]["prompt_unchanged_since"] == "FAILED"
    assert results(instance_url)["film/two"]["prompt_unchanged_since"] == "SUCCEEDED"
    make_frames(instance, runtime, mode="ensure", refresh_stale=True)
    assert results(instance_url)["film/one"]["prompt_unchanged_since"] == "SUCCEEDED"


@contextmanager
def nothing_can_be_kept(studio: Studio) -> Iterator[None]:
    """As if the process died between telling verdicts and keeping them."""
    studio.sql("ALTER TABLE frame_checks ADD CONSTRAINT never CHECK (false) NOT VALID")
    yield
    studio.sql("ALTER TABLE frame_checks DROP CONSTRAINT never")


def test_what_the_document_says_is_kept_after_it_was_reported(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    make_frames(instance, runtime)
    studio.edit(["scenes", "one", "scene_frame_prompt"], "A lighthouse at dusk")

    with nothing_can_be_kept(studio), pytest.raises(psycopg.errors.CheckViolation):
        renew(instance, runtime)

    assert results(instance_url)["film/one"]["prompt_unchanged_since"] == "FAILED"
    assert renew(instance, runtime) == 1
    assert renew(instance, runtime) == 0


def test_a_scene_that_is_edited_again_and_again_is_told_each_time(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    make_frames(instance, runtime)
    told = []
    for prompt in ("A lighthouse at dusk", PROMPTS["one"], "A lighthouse at noon"):
        studio.edit(["scenes", "one", "scene_frame_prompt"], prompt)
        assert renew(instance, runtime) == 1
        told.append(results(instance_url)["film/one"]["prompt_unchanged_since"])

    assert told == ["FAILED", "SUCCEEDED", "FAILED"]


def test_results_of_scenes_that_dagster_does_not_list_are_kept_and_not_reported(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.run("one", "two")
    studio.sql("DELETE FROM frame_checks")
    instance.delete_dynamic_partition(SCENES_NAME, "film/one")

    # No run has told Dagster of them, so that the pictures are judged as well.
    assert renew(instance, runtime) == len((OF_IMAGE | OF_DOCUMENT) - {URL})

    assert results(instance_url).keys() == {"film/two"}
    assert {row["scene_id"] for row in studio.sql("SELECT scene_id FROM frame_checks")} == {
        "one",
        "two",
    }


def test_a_sweep_tells_numbers_and_fails_where_urls_do_not_serve_their_bytes(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    make_frames(instance, runtime)
    [row] = studio.sql("SELECT storage_path FROM scene_images WHERE scene_id = 'two'")
    frame = studio.settings.home_directory / "frames" / str(row["storage_path"])
    down = run_job(instance, runtime, "truth_sweep")
    with serving(studio.settings):
        sound = run_job(instance, runtime, "truth_sweep", requests=10)
        frame.unlink()
        broken = run_job(instance, runtime, "truth_sweep")

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


def test_a_sweep_keeps_what_it_has_told(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    make_frames(instance, runtime)
    with serving(studio.settings):
        with nothing_can_be_kept(studio):
            assert not run_job(instance, runtime, "truth_sweep").success
        assert results(instance_url)["film/two"][URL] == "SUCCEEDED"
        again = run_job(instance, runtime, "truth_sweep")

    assert told_in(again) == 2


def test_urls_that_broke_are_told_with_code_and_next_action(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.run("one", "two")
    for row in studio.sql("SELECT storage_path FROM scene_images"):
        (studio.settings.home_directory / "frames" / str(row["storage_path"])).unlink()
    with serving(studio.settings):
        broken = run_job(instance, runtime, "truth_sweep")
    definitions = build_definitions(resources={"pipeline": runtime})
    with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
        run_failures(context, pipeline=runtime)

    [alert] = studio.sql("SELECT * FROM alerts WHERE run_id = %s", broken.run_id)
    assert alert["outcome"] == "logged"
    assert "[urls_broken]" in alert["message"]
    assert "film/one, film/two" in alert["message"]
    assert "`scene-pipeline reconcile film`" in alert["message"]


def test_the_second_sweep_leaves_it_to_the_first(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    async def hold_the_turn(_: object) -> dg.ExecuteInProcessResult:
        async with turn(studio.database_url, "truth_sweep") as is_ours:
            assert is_ours
            return await asyncio.to_thread(run_job, instance, runtime, "truth_sweep")

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
