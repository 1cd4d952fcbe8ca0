"""A frame that changed without a run: the pages of its assets say so with the next storyboard."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from scene_pipeline.database.rows import Connection
from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.partitions import PROJECTS_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.pipeline.orders import FrameFacts, SceneRef
from scene_pipeline.pipeline.projects.promotion import promote
from scene_pipeline.pipeline.reporting import changed_frames
from scene_pipeline.scenes.identity import project_partition_key
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.defs.jobs import make_frames
from scene_pipeline_tests.defs.test_checks import OF_IMAGE, URL, results
from scene_pipeline_tests.defs.test_frames import latest, register, statuses
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.media_server import free_port

STAGES = ("scene_image", "scene_start_frame")
KEY = "film/one"


@pytest.fixture
def studio(database_url: str, tmp_path: Path) -> Studio:
    """Frames with addresses on a port of their own, where nobody listens."""
    settings = load_settings(home=tmp_path / "home", public_url=f"http://127.0.0.1:{free_port()}")
    return Studio(settings, database_url)


@pytest.fixture(autouse=True)
def _two_versions(instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio) -> None:
    """Scene one in two versions, the second of other words; scene two in one."""
    studio.bring(film({"one": "A red boat, moored", "two": "A storm"}))
    register(instance, "one", "two")
    assert make_frames(instance, runtime).success
    studio.edit(["scenes", "one", "scene_frame_prompt"], "A blue boat, moored")
    assert make_frames(instance, runtime, mode="ensure", refresh_stale=True).success


def choose(runtime: PipelineRuntime, version: int) -> None:
    runtime.in_database(lambda conn: promote(conn, runtime.settings, "film", "one", version))


def renew(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> list[dg.AssetObservation]:
    """Make the storyboard; gives what it told of frames."""
    key = project_partition_key("film")
    instance.add_dynamic_partitions(PROJECTS_NAME, [key])
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("storyboards")
    before = len(observations(instance))
    assert job.execute_in_process(
        instance=instance, partition_key=key, asset_selection=[dg.AssetKey("storyboard")]
    ).success
    return observations(instance)[before:]


def observations(instance: dg.DagsterInstance) -> list[dg.AssetObservation]:
    """All that was ever told, in its order."""
    records = [
        record
        for stage in STAGES
        for record in instance.fetch_observations(dg.AssetKey(stage), limit=99).records
    ]
    ordered = sorted(records, key=lambda record: record.storage_id)
    return [one.asset_observation for one in ordered if one.asset_observation is not None]


def page(instance: dg.DagsterInstance, asset: str, key: str = KEY) -> dict[str, Any]:
    """What the page of a partition shows: observations lie over the newest materialization."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key])
    [made] = instance.fetch_materializations(wanted, limit=1).records
    shown = latest(instance, asset, key).metadata
    told = instance.fetch_observations(wanted, limit=100, ascending=True).records
    for record in told:
        if record.storage_id > made.storage_id and record.asset_observation is not None:
            shown = {**shown, **record.asset_observation.metadata}
    return {name: value.value for name, value in shown.items()}


def test_a_chosen_version_is_what_the_pages_of_both_assets_show(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    assert renew(instance, runtime) == []
    first = page(instance, "scene_image")
    choose(runtime, 1)

    told = renew(instance, runtime)

    assert [(one.asset_key.to_user_string(), one.partition) for one in told] == [
        (stage, KEY) for stage in STAGES
    ]
    for stage in STAGES:
        values = page(instance, stage)
        assert next(iter(told[0].metadata)) == "now"
        assert values["now"].startswith("Version 1 is the scene's frame since 20")
        assert "in the place of version 2; nothing was paid" in values["now"]
        assert (values["version"], values["is_current"]) == (1, True)
        assert values["url"] == studio.start_frame("one")
        assert values["prompt"] == "A red boat, moored"
        assert values["thumbnail"] != first["thumbnail"]
        # version 1 is the first: nothing of what version 2 was compared with is left standing
        assert {values[name] for name in ("previous_version", "prompt_diff", "compared")} == {
            "\u2013"
        }
        assert isinstance(values["cost_usd"], str), "a number would look like one more payment"
    assert results(instance_url)[KEY] == dict.fromkeys(
        results(instance_url)["film/two"], "SUCCEEDED"
    )
    looked_at = {
        row["name"]: row["version"]
        for row in studio.sql("SELECT name, version FROM frame_checks WHERE scene_id = 'one'")
    }
    assert {looked_at[name] for name in OF_IMAGE - {URL}} == {1}, "the other picture is judged anew"
    assert statuses(instance, "scene_image")[KEY] == "MATERIALIZED"
    assert len(instance.fetch_materializations(dg.AssetKey("scene_image"), limit=9).records) == 4


def move(studio: Studio) -> None:
    studio.sql("UPDATE scene_images SET storage_url = storage_url || '?'")


def test_no_picture_of_another_version_stays_where_more_is_told_in_between(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    first = page(instance, "scene_image")
    choose(runtime, 1)
    renew(instance, runtime)
    assert page(instance, "scene_image")["preview"] not in ("\u2013", first["thumbnail"])
    for _ in range(2):
        move(studio)
        assert len(renew(instance, runtime)) == 2 * len(STAGES), "of both scenes"

    choose(runtime, 2)
    renew(instance, runtime)

    values = page(instance, "scene_image")
    assert (values["version"], values["preview"]) == (2, "\u2013")
    shown = ("thumbnail", "previous_thumbnail", "compared", "prompt_diff", "seed")
    assert {name: values[name] for name in shown} == {name: first[name] for name in shown}


def test_each_change_is_told_once(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    choose(runtime, 1)
    assert len(renew(instance, runtime)) == len(STAGES)
    assert renew(instance, runtime) == []
    assert studio.sql("SELECT * FROM untold_frames") == []

    choose(runtime, 2)
    choose(runtime, 1)

    assert renew(instance, runtime) == [], "Dagster says already how it stands"
    choose(runtime, 2)
    assert len(renew(instance, runtime)) == len(STAGES)
    assert page(instance, "scene_image")["version"] == 2
    assert page(instance, "scene_image")["previous_version"] == 1


def test_what_a_run_tells_counts_over_what_was_told_before(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    choose(runtime, 1)
    assert make_frames(instance, runtime, mode="ensure").success
    assert renew(instance, runtime) == [], "the run has told it"
    assert page(instance, "scene_image")["version"] == 1

    choose(runtime, 2)
    assert len(renew(instance, runtime)) == len(STAGES)
    assert make_frames(instance, runtime).success
    assert page(instance, "scene_image")["version"] == 3


def test_other_addresses_are_told_page_by_page_and_without_pictures(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changed_frames, "PAGE_LENGTH", 1)
    studio.sql("UPDATE scene_images SET storage_url = 'https://cdn.example/' || version")

    told = renew(instance, runtime)

    assert len(told) == 2 * len(STAGES)
    assert not any("thumbnail" in one.metadata for one in told)
    values = page(instance, "scene_image")
    assert values["url"] == "https://cdn.example/2"
    assert values["now"].startswith("Version 2 has another address since 20")
    assert values["previous_version"] == 1
    assert renew(instance, runtime) == []


def test_a_scene_that_leaves_the_document_and_comes_back_is_told(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    [row] = studio.sql("SELECT scene_entry(master_json, 'one') AS entry FROM projects")
    studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,one}'")
    studio.run("two")

    assert len(renew(instance, runtime)) == len(STAGES)
    values = page(instance, "scene_image")
    assert values["now"].startswith("The scene is not in the document since 20")
    assert (values["is_in_document"], values["version"]) == (False, 2)
    assert renew(instance, runtime) == []

    studio.edit(["scenes", "one"], row["entry"])
    studio.run("two")

    assert len(renew(instance, runtime)) == len(STAGES)
    assert page(instance, "scene_image")["is_in_document"] is True
    assert "back in the document" in page(instance, "scene_image")["now"]


def test_scenes_that_dagster_does_not_list_wait_until_it_does(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    instance.delete_dynamic_partition("scenes", KEY)
    choose(runtime, 1)
    assert renew(instance, runtime) == []

    register(instance, "one")

    assert len(renew(instance, runtime)) == len(STAGES)


def test_a_change_while_it_is_told_is_told_next_time(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(runtime, 1)
    keep = changed_frames.keep_told

    async def keep_late(conn: Connection, told: Sequence[changed_frames.ChangedFrame]) -> None:
        await promote(conn, runtime.settings, "film", "one", 2)
        await keep(conn, told)

    with monkeypatch.context() as patch:
        patch.setattr(changed_frames, "keep_told", keep_late)
        renew(instance, runtime)
    assert studio.sql("SELECT scene_id FROM untold_frames") == [{"scene_id": "one"}]

    renew(instance, runtime)

    assert [page(instance, stage)["version"] for stage in STAGES] == [2, 2]
    assert studio.sql("SELECT scene_id FROM untold_frames") == []


def test_an_older_version_that_was_told_over_a_run_s_newer_one_is_set_right_next_time(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(runtime, 1)
    read = changed_frames.frames_to_tell

    async def read_early(
        conn: Connection, changed: Sequence[changed_frames.ChangedFrame]
    ) -> dict[SceneRef, FrameFacts]:
        found = await read(conn, changed)
        run = threading.Thread(target=make_frames, args=(instance, runtime))
        run.start()
        run.join()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(changed_frames, "frames_to_tell", read_early)
        renew(instance, runtime)
    assert [page(instance, stage)["version"] for stage in STAGES] == [1, 1], "as it was read"

    renew(instance, runtime)

    assert [page(instance, stage)["version"] for stage in STAGES] == [3, 3]
    assert studio.sql("SELECT scene_id FROM untold_frames") == []
