"""Reports in Dagster: tables with columns, numbers to plot, files that open, a chart to look at."""

import base64
import csv
import io
from contextlib import closing
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.launch import launch_frames, launch_storyboard
from scene_pipeline.defs.metadata import PROJECT_TAG
from scene_pipeline.defs.partitions import register_partitions
from scene_pipeline.defs.report_tables import FAILURES_SHOWN, SCENES_SHOWN, table_metadata
from scene_pipeline.defs.reports import portfolio_job
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.schedules import portfolio_report_daily
from scene_pipeline.pipeline.reporting.report_columns import FAILURE_COLUMNS, SCENE_COLUMNS
from scene_pipeline.pipeline.reporting.tables import table_of
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.films import Studio, film


def latest(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    """The metadata of an asset's newest materialization, as values."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def numbers(metadata: dict[str, Any]) -> dict[str, float]:
    kinds = (dg.IntMetadataValue, dg.FloatMetadataValue)
    return {
        name: value.value
        for name, value in metadata.items()
        if isinstance(value, kinds) and value.value is not None
    }


def stored_bytes(runtime: PipelineRuntime, key: str) -> bytes:
    with closing(build_store(runtime.settings, database_url=runtime.database_url)) as store:
        return b"".join(store.open(key))


def make_portfolio(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(resources={"pipeline": runtime})
    job = definitions.resolve_job_def(portfolio_job.name)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def test_a_report_is_renewed_with_the_storyboard(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn", "Dusk"]))
    launch_frames(instance, runtime, "film", ["scene_1"], mode="ensure")

    run_id = launch_storyboard(instance, runtime, "film")

    assert instance.get_materialized_partitions(dg.AssetKey("project_report")) == {"film"}
    assert instance.get_materialized_partitions(dg.AssetKey("storyboard")) == {"film"}
    shown = latest(instance, "project_report")
    assert numbers(shown) == {
        "frames": 1, "versions": 1, "attempts": 1, "failures": 0, "rejections": 0,
        "seconds": shown["seconds"].value, "cost_usd": 0, "cost_metered_usd": 0,
        "cost_estimated_usd": 0, "cost_doubtful_usd": 0, "wasted_usd": 0,
        "cost_per_frame_usd": 0,
    }  # fmt: skip
    scenes = shown["scenes"]
    assert [record.data["scene_id"] for record in scenes.records] == ["scene_1", "scene_2"]
    assert [record.data["state"] for record in scenes.records] == ["current", "missing"]
    assert tuple(column.name for column in scenes.schema.columns) == SCENES_SHOWN
    [model] = shown["models"].records
    assert (model.data["model"], model.data["frames"]) == ("offline/landscape", 1)
    paths = shown["storage_paths"].value
    rows = list(
        csv.reader(io.StringIO(stored_bytes(runtime, paths["project_report_csv"]).decode()))
    )
    assert [row[0] for row in rows] == ["scene_id", "scene_1", "scene_2"]
    assert rows[0] == [column.name for column in SCENE_COLUMNS], "the file has all columns"
    files = studio.sql(
        "SELECT kind, storage_url AS url, storage_path AS path, run_id FROM report_files"
        " WHERE kind LIKE 'project%%'"
    )
    assert {file["run_id"] for file in files} == {run_id}
    names = {"report": "", "models": "models_", "failures": "failures_"}
    assert {file["kind"]: file["url"] for file in files} == {
        f"project_{name}_{form}": shown[f"{prefix}{form}"].value
        for name, prefix in names.items()
        for form in ("csv", "parquet")
    }
    assert paths == {file["kind"]: file["path"] for file in files}


def test_a_report_has_another_version_where_any_of_its_tables_is_another(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    def version() -> str | None:
        launch_storyboard(instance, runtime, "film")
        event = instance.get_latest_materialization_event(dg.AssetKey("project_report"))
        assert event is not None
        assert event.asset_materialization is not None
        return (event.asset_materialization.tags or {}).get("dagster/data_version")

    studio.bring(film(["Dawn"]))
    studio.run()
    studio.sql(
        "INSERT INTO pipeline_events (kind, project_id, scene_id, generation_id, data) SELECT"
        " 'generation_failed', project_id, scene_id, id, '{\"code\": \"died\"}' FROM generations"
    )
    fail = "UPDATE generations SET state = 'failed', error_code = 'died', error_message = %s"
    studio.sql(fail, "It died.")
    first = version()
    assert version() == first
    studio.sql(fail, "It died again.")  # which the table of failures tells alone

    assert version() not in {first, None}


def test_a_report_from_the_ui_carries_its_project(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(["Dawn"]))
    register_partitions(instance, "film", [])
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("storyboards")

    done = job.execute_in_process(
        instance=instance, partition_key="film", asset_selection=[dg.AssetKey("project_report")]
    )

    assert done.success
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.tags[PROJECT_TAG] == "film"
    assert numbers(latest(instance, "project_report"))["frames"] == 0
    assert "cost_per_frame_usd" not in latest(instance, "project_report"), "there is no frame"


def test_the_portfolio_shows_its_chart_tables_and_numbers(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    for key in ("one", "two"):
        studio.bring(film(["Dawn", "Dusk"], key=key))
        studio.run("scene_1", key=key)

    assert make_portfolio(instance, runtime).success

    shown = latest(instance, "portfolio_report")
    assert next(iter(shown)) == "preview"
    encoded = shown["preview"].value.partition("base64,")[2].rstrip(")")
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as preview:
        assert preview.width > 1000
        assert len(preview.convert("RGB").getcolors(1_000_000) or []) > 50
    with Image.open(
        io.BytesIO(stored_bytes(runtime, shown["storage_paths"].value["portfolio_report_chart"]))
    ) as chart:
        assert chart.size == (1600, 1000)
    counted = numbers(shown)
    assert (counted["project_count"], counted["scene_count"]) == (2, 4)
    assert (counted["ready"], counted["not_ready"], counted["frames"]) == (2, 2, 2)
    assert {"cost_usd", "cost_7_days_usd", "cost_30_days_usd", "wasted_usd"} <= set(counted)
    assert [record.data["project"] for record in shown["projects"].records] == ["one", "two"]
    assert [record.data["versions"] for record in shown["days"].records] == [2]
    for name in ("", "models_", "days_"):
        assert shown[f"{name}csv"].value.endswith(".csv")
        assert shown[f"{name}parquet"].value.endswith(".parquet")
    assert shown["days"].records[0].data["day"] == shown["day"].value


def test_a_portfolio_that_cannot_be_stored_fails_with_code_and_next_action(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    frames = runtime.settings.home_directory / "frames"
    frames.parent.mkdir(parents=True, exist_ok=True)
    frames.write_text("a file where the store's directory should be")

    done = make_portfolio(instance, runtime)

    [failed] = done.get_step_failure_events()
    description = failed.step_failure_data.user_failure_data
    assert description is not None
    words = str(description.description)
    assert words.startswith("[key_invalid]")
    assert "scene-pipeline doctor" in words


def test_the_portfolio_is_made_every_day_and_never_twice_at_once(
    instance: dg.DagsterInstance,
) -> None:
    with dg.build_schedule_context(instance=instance) as context:
        first = portfolio_report_daily.evaluate_tick(context)
    job = build_definitions().resolve_job_def(portfolio_job.name)
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    with dg.build_schedule_context(instance=instance) as context:
        second = portfolio_report_daily.evaluate_tick(context)

    assert len(first.run_requests or ()) == 1
    assert second.run_requests == []
    assert "still at work" in str(second.skip_message)


@pytest.mark.parametrize("number", [100, 250])
def test_a_long_table_is_cut_and_says_so(number: int) -> None:
    records = [
        {column.name: None for column in SCENE_COLUMNS} | {"scene_id": f"scene_{n}"}
        for n in range(number)
    ]

    shown = table_metadata(table_of("Scenes", SCENE_COLUMNS, records), SCENES_SHOWN).records

    assert len(shown) == min(number, 101)
    if number > 100:
        assert shown[-1].data["scene_id"] == "and 150 more: see the files"


def test_what_was_said_is_cut_and_a_command_is_not() -> None:
    command = f"Give it up: `scene-pipeline resolve film --abandon --scene {'a-long-name-' * 20}`"
    record: dict[str, Any] = {column.name: None for column in FAILURE_COLUMNS}
    record |= {"code": "generation_ambiguous", "said": "Lost. " * 100, "next_action": command}

    table = table_of("Failures by code", FAILURE_COLUMNS, [record])

    [shown] = table_metadata(table, FAILURES_SHOWN).records
    assert shown.data["next_action"] == command
    assert len(str(shown.data["said"])) == 200
