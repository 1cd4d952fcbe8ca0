"""Frames of runs that were killed between making and telling: the next storyboard tells them."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from scene_pipeline.database.rows import Connection
from scene_pipeline.defs import unjudged_frames
from scene_pipeline.defs.metadata import PROJECT_TAG
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sensors.stale_storyboards import stale_storyboards
from scene_pipeline.pipeline.reporting import changed_frames
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.defs.jobs import make_frames
from scene_pipeline_tests.defs.test_checks import OF_DOCUMENT, OF_IMAGE, URL, renew, results
from scene_pipeline_tests.defs.test_frames import latest, register, statuses
from scene_pipeline_tests.defs.ticks import Daemon
from scene_pipeline_tests.films import Studio, film

ALL_WELL = dict.fromkeys((OF_IMAGE | OF_DOCUMENT) - {URL}, "SUCCEEDED")
STAGES = ("scene_image", "scene_start_frame")


@pytest.fixture
def studio(database_url: str, tmp_path: Path) -> Studio:
    """Addresses are not asked: whether somebody serves them is no matter here."""
    return Studio(load_settings(home=tmp_path / "home", check_urls=False), database_url)


@pytest.fixture(autouse=True)
def _scenes(instance: dg.DagsterInstance, studio: Studio) -> None:
    studio.bring(film({"one": "A pier", "two": "A storm"}))
    register(instance, "one", "two")


def test_a_frame_of_a_run_that_was_killed_before_it_told_is_shown_and_checked(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.run("one", "two")
    assert studio.sql("SELECT 1 FROM frame_checks"), "its verdicts were kept, and told nobody"

    told = renew(instance, runtime)

    assert told == 2 * len(ALL_WELL)
    for stage in STAGES:
        assert set(statuses(instance, stage).values()) == {"MATERIALIZED"}
        shown = latest(instance, stage, "film/one").metadata
        assert (shown["version"].value, shown["kept"].value) == (1, True)
        assert shown["url"].value == studio.start_frame("one")
    assert results(instance_url) == {"film/one": ALL_WELL, "film/two": ALL_WELL}
    assert renew(instance, runtime) == 0, "it is told once"
    assert studio.sql("SELECT * FROM untold_frames") == []
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]


def test_a_frame_that_was_shown_before_its_run_was_killed_gets_its_checks(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime
) -> None:
    assert make_frames(instance, runtime).success
    with psycopg.connect(instance_url) as conn:
        conn.execute("DELETE FROM asset_check_executions WHERE partition = 'film/one'")
    before = latest(instance, "scene_image", "film/one").metadata

    told = renew(instance, runtime)

    assert told == len(ALL_WELL), "those of the other scene were told"
    assert results(instance_url)["film/one"] == ALL_WELL
    assert latest(instance, "scene_image", "film/one").metadata == before, "nothing is new of it"
    assert before["kept"].value is False


def test_a_frame_of_a_run_that_was_killed_after_it_kept_it_gets_its_checks(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime
) -> None:
    assert make_frames(instance, runtime).success
    assert renew(instance, runtime) == 0
    for stage in STAGES:
        shown = latest(instance, stage, "film/two").metadata
        kept = dg.AssetMaterialization(stage, partition="film/two", metadata=shown)
        instance.report_runless_asset_event(kept)
    assert set(results(instance_url)["film/two"].values()) == {"MISSING"}

    told = renew(instance, runtime)

    assert told == len(ALL_WELL)
    assert results(instance_url) == {"film/one": ALL_WELL, "film/two": ALL_WELL}
    assert renew(instance, runtime) == 0


def test_what_a_run_has_told_is_forgotten_without_a_look_at_pictures(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[changed_frames.ChangedFrame] = []

    async def frames_to_tell(
        _: Connection, changed: Sequence[changed_frames.ChangedFrame]
    ) -> dict[object, object]:
        read.extend(changed)
        return {}

    monkeypatch.setattr(changed_frames, "frames_to_tell", frames_to_tell)
    assert make_frames(instance, runtime).success
    assert len(studio.sql("SELECT 1 FROM untold_frames")) == 2

    assert renew(instance, runtime) == 0
    assert studio.sql("SELECT * FROM untold_frames") == []
    assert read == []


OF_THE_PROJECT = {PROJECT_TAG: "film"}
RANGE_START, RANGE_END = (f"dagster/asset_partition_range_{end}" for end in ("start", "end"))
OF_SEVERAL = {RANGE_START: "first/one", RANGE_END: "last/one"}


def run_over_several(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, tags: dict[str, str] = OF_SEVERAL
) -> dg.DagsterRun:
    """A run of frames that is at work, as a backfill over a range of scenes has it."""
    before = instance.get_dynamic_partitions(SCENES_NAME)
    for key in before:
        instance.delete_dynamic_partition(SCENES_NAME, key)
    instance.add_dynamic_partitions(SCENES_NAME, ["first/one", *before, "last/one", "later/one"])
    return instance.create_run_for_job(
        Daemon(instance, runtime).job, tags=tags, status=dg.DagsterRunStatus.STARTED
    )


@pytest.mark.parametrize("tags", [OF_THE_PROJECT, OF_SEVERAL], ids=["its own", "several projects"])
def test_frames_of_a_run_that_is_at_work_are_left_to_it_until_it_ends(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio, tags: dict[str, str]
) -> None:
    run = run_over_several(instance, runtime, tags)
    studio.run("one", "two")

    assert renew(instance, runtime) == 0
    assert instance.get_materialized_partitions(dg.AssetKey("scene_image")) == set()

    instance.report_run_failed(run)

    assert renew(instance, runtime) == 2 * len(ALL_WELL)
    shown = instance.get_materialized_partitions(dg.AssetKey("scene_image"))
    assert shown == {"film/one", "film/two"}


def test_a_run_over_other_projects_holds_up_nothing(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    run_over_several(
        instance, runtime, OF_SEVERAL | {RANGE_START: "last/one", RANGE_END: "later/one"}
    )
    studio.run("one", "two")

    assert renew(instance, runtime) == 2 * len(ALL_WELL)


def test_no_storyboard_is_asked_for_while_a_run_over_several_projects_is_at_work(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    run = run_over_several(instance, runtime)
    studio.run("one")

    assert Daemon(instance, runtime).tick(stale_storyboards) == []

    instance.report_run_failed(run)
    [request] = Daemon(instance, runtime).tick(stale_storyboards)
    assert request.partition_key == "film"


def test_a_frame_that_is_not_in_the_document_yet_is_told_as_a_picture_alone(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.run("one", "two", stages=frozenset({"scene_prompt", "generated_frame", "scene_image"}))

    renew(instance, runtime)

    assert set(statuses(instance, "scene_image").values()) == {"MATERIALIZED"}
    assert instance.get_materialized_partitions(dg.AssetKey("scene_start_frame")) == set()

    studio.run("one", "two")  # and this one is killed before it tells of the document
    renew(instance, runtime)

    assert set(statuses(instance, "scene_start_frame").values()) == {"MATERIALIZED"}
    assert studio.sql("SELECT * FROM untold_frames") == []


@pytest.fixture
def one_by_one(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames that are older than these notes, of which a storyboard takes up one."""
    monkeypatch.setattr(unjudged_frames, "MAX_UNJUDGED", 1)
    studio.run("one", "two")
    studio.sql("DELETE FROM untold_frames")


@pytest.mark.usefixtures("one_by_one")
def test_many_frames_that_were_never_checked_are_taken_up_in_parts(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    renew(instance, runtime)
    first = statuses(instance, "scene_image")
    renew(instance, runtime)

    assert first == {"film/one": "MATERIALIZED", "film/two": None}
    assert set(statuses(instance, "scene_image").values()) == {"MATERIALIZED"}


@pytest.mark.usefixtures("one_by_one")
def test_frames_that_dagster_does_not_list_keep_no_other_from_being_noted(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    instance.delete_dynamic_partition(SCENES_NAME, "film/one")  # as of an archived project

    renew(instance, runtime)

    assert statuses(instance, "scene_image") == {"film/two": "MATERIALIZED"}
