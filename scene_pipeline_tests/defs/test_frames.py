"""The streaming op on a real stream and a real instance: states, metadata, tokens, selections."""

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.partitions import SCENES_NAME, register_partitions, scenes
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.scenes.identity import partition_key
from scene_pipeline_tests.defs.jobs import make_frames
from scene_pipeline_tests.films import Studio, assert_invariants, film

STAGES = ("scene_prompt", "generated_frame", "scene_image", "scene_start_frame")
PROMPTS = {"one": "A lighthouse *at dawn*", "two": "A storm", "bad": "  ", "three": "A kitchen"}
GOOD = {"film/one", "film/two", "film/three"}


def register(instance: dg.DagsterInstance, *scene_ids: str) -> None:
    register_partitions(instance, "film", [partition_key("film", one) for one in scene_ids])


def statuses(instance: dg.DagsterInstance, asset: str) -> dict[str, str | None]:
    keys = instance.get_dynamic_partitions(SCENES_NAME)
    found = instance.get_status_by_partition(dg.AssetKey(asset), keys, scenes)
    assert found is not None
    return {key: None if status is None else status.value for key, status in found.items()}


def latest(instance: dg.DagsterInstance, asset: str, key: str) -> dg.AssetMaterialization:
    [record] = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key]), limit=1
    ).records
    assert record.asset_materialization is not None
    return record.asset_materialization


def test_one_bad_scene_fails_alone(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, *PROMPTS)

    result = make_frames(instance, runtime)

    assert not result.success
    for asset in STAGES:
        assert statuses(instance, asset) == {
            **dict.fromkeys(GOOD, "MATERIALIZED"),
            "film/bad": "FAILED",
        }
    [failed] = result.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert failure.description is not None
    assert "film/bad: invalid [prompt_empty]" in failure.description
    assert "unfinished_scenes" in failure.metadata
    assert_invariants(studio)


def test_a_materialization_shows_what_people_look_at(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one")

    assert make_frames(instance, runtime).success

    shown = latest(instance, "scene_image", "film/one")
    values = {name: value.value for name, value in shown.metadata.items()}
    assert values["version"] == 1
    assert values["url"] == studio.start_frame("one")
    assert (values["width"], values["height"]) == (64, 64)
    assert values["cost_usd"] == 0.0
    assert values["kept"] is False
    assert {"seed", "model", "provider", "generation_id", "storage_path"} <= values.keys()
    assert str(values["prompt"]).startswith("A lighthouse \\*at dawn\\*")
    # Dagster's UI renders in place what is shorter than 1000 characters
    assert str(values["thumbnail"]).startswith("![picture](data:image/webp;base64,")
    assert len(str(values["thumbnail"])) < 1000
    assert str(values["preview"]).startswith("![picture](data:image/jpeg;base64,")
    prompt = latest(instance, "scene_prompt", "film/one")
    assert "expanded_prompt" in prompt.metadata


def test_the_run_shows_the_prompts_table_even_where_a_scene_failed(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, *PROMPTS)

    make_frames(instance, runtime)

    [record] = instance.fetch_observations(dg.AssetKey("scene_prompt"), limit=5).records
    assert record.asset_observation is not None
    table = str(record.asset_observation.metadata["prompts"].value)
    rows = table.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| one", "| two", "| three"]


def test_kept_scenes_are_materialized_with_the_version_they_have(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one", "two")
    make_frames(instance, runtime)

    again = make_frames(instance, runtime, mode="ensure")

    assert again.success
    shown = latest(instance, "scene_start_frame", "film/two")
    assert shown.metadata["kept"].value is True
    assert shown.metadata["version"].value == 1
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]


def test_runs_of_one_backfill_buy_once_and_another_backfill_buys_again(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one")

    for backfill in ("first", "first", "second"):
        assert make_frames(instance, runtime, tags={"dagster/backfill": backfill}).success

    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]


def test_a_materialization_from_the_ui_makes_a_new_version(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one")

    make_frames(instance, runtime)
    make_frames(instance, runtime)

    assert latest(instance, "scene_image", "film/one").metadata["version"].value == 2
    assert_invariants(studio)


def test_a_selection_without_the_paid_asset_never_pays(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one")

    result = make_frames(instance, runtime, selection=["scene_image"])

    assert not result.success
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 0}]
    make_frames(instance, runtime)
    assert make_frames(instance, runtime, selection=["scene_start_frame"]).success
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 1}]
    assert latest(instance, "scene_start_frame", "film/one").metadata["kept"].value is True


@pytest.mark.parametrize("given", [None, "by the launcher"])
def test_the_project_tag_is_added_where_the_launcher_left_it_out(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio, given: str | None
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one", "two")

    result = make_frames(
        instance, runtime, tags={} if given is None else {"scene_pipeline/project": given}
    )

    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["scene_pipeline/project"] == (given or "film")


def test_the_contact_sheet_is_materialized_with_a_picture(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one", "two")
    make_frames(instance, runtime)
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("storyboards")

    result = job.execute_in_process(instance=instance, partition_key="film")

    assert result.success
    shown = latest(instance, "storyboard", "film")
    assert str(shown.metadata["preview"].value).startswith("![picture](data:image/jpeg;base64,")
    assert shown.metadata["scene_count"].value == 4
    assert shown.metadata["scenes_invalid"].value == 1
    assert str(shown.metadata["url"].value).endswith(".png")


@pytest.mark.parametrize(
    ("status", "expected"),
    [("REQUESTED", "SUCCESS"), ("CANCELING", "CANCELED"), ("CANCELED", "CANCELED")],
)
def test_a_run_of_a_cancelled_backfill_buys_nothing(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    status: str,
    expected: str,
) -> None:
    studio.bring(film(PROMPTS))
    register(instance, "one")
    backfill = PartitionBackfill(
        "b1", BulkActionStatus(status), from_failure=False, tags={}, backfill_timestamp=0.0
    )
    instance.add_backfill(backfill)

    result = make_frames(instance, runtime, tags={"dagster/backfill": "b1"})

    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status.value == expected
    bought = studio.sql("SELECT count(*) AS n FROM generations")
    assert bought == [{"n": expected == "SUCCESS"}]
