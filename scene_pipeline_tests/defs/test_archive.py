"""Archived projects give up their partition keys, never under a run, and get them back."""

from collections.abc import Sequence

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from scene_pipeline.database.rows import Connection
from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.launch import launch_frames, launch_storyboard
from scene_pipeline.defs.partition_keys import InstanceKeys
from scene_pipeline.defs.partitions import register_partitions
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sensors.asset_imports import asset_imports
from scene_pipeline.pipeline.upkeep.archive import ArchiveReport, give_back_keys
from scene_pipeline.pipeline.upkeep.archive_plan import HeldKeys
from scene_pipeline_tests.defs.ticks import Daemon
from scene_pipeline_tests.films import Studio, assert_invariants, film

PROMPTS = ["A lighthouse", "A storm", "A kitchen"]


@pytest.fixture
def two_films(instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio) -> Studio:
    """One finished and archived, one not."""
    for key in ("old", "film"):
        studio.bring(film(PROMPTS, key=key), file_name=f"{key}.json", origin=f"{key}.json")
        register_partitions(instance, key, [f"{key}/scene_{number}" for number in (1, 2, 3)])
    launch_frames(instance, runtime, "old", ["scene_1"], mode="ensure")
    studio.sql("UPDATE projects SET archived_at = now() WHERE key = 'old'")
    return studio


def archive(runtime: PipelineRuntime, keys: InstanceKeys, limit: int = 5000) -> ArchiveReport:
    async def work(conn: Connection) -> ArchiveReport:
        return await give_back_keys(conn, keys, limit=limit)

    return runtime.in_database(work)


def scene_keys(instance: dg.DagsterInstance, project: str) -> list[str]:
    return [key for key in instance.get_dynamic_partitions("scenes") if key.startswith(project)]


def open_run(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(
        build_definitions().resolve_job_def("frames"),
        tags={f"dagster/{name}": value for name, value in tags.items()},
        status=dg.DagsterRunStatus.STARTED,
    )


def test_keys_go_and_everything_else_stays(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, two_films: Studio
) -> None:
    url = two_films.start_frame("scene_1", key="old")
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("archive")

    result = job.execute_in_process(instance=instance)

    assert result.success
    assert scene_keys(instance, "old") == []
    assert len(scene_keys(instance, "film")) == 3
    assert list(instance.get_dynamic_partitions("projects")) == ["film"]
    assert two_films.start_frame("scene_1", key="old") == url
    assert_invariants(two_films)
    assert archive(runtime, InstanceKeys(instance)) == ArchiveReport()


@pytest.mark.usefixtures("two_films")
@pytest.mark.parametrize(
    "tags",
    [
        {"partition": "old/scene_2"},
        {
            "asset_partition_range_start": "old/scene_1",
            "asset_partition_range_end": "film/scene_1",
        },
    ],
    ids=["one_scene", "a_range_across_projects"],
)
def test_a_run_keeps_the_keys_that_it_holds(
    tags: dict[str, str], instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    run = open_run(instance, **tags)

    report = archive(runtime, InstanceKeys(instance))

    assert report.waiting == {"old": "a run is under way"}
    assert len(scene_keys(instance, "old")) == 3
    instance.report_run_failed(run, "Ended.")
    assert archive(runtime, InstanceKeys(instance)).projects == 1


def test_an_unfinished_generation_keeps_the_keys(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, two_films: Studio
) -> None:
    two_films.sql(
        "UPDATE generations SET state = 'submitted', finished_at = NULL WHERE scene_id = 'scene_1'"
    )

    report = archive(runtime, InstanceKeys(instance))

    assert report.waiting == {"old": "a generation is not finished"}
    assert len(scene_keys(instance, "old")) == 3


class Interrupted(InstanceKeys):
    """Something happens between the decision and the first key."""

    def __init__(self, instance: dg.DagsterInstance, studio: Studio, what: str) -> None:
        super().__init__(instance)
        self._given, self._studio, self._what = instance, studio, what

    def scene_keys(self) -> Sequence[str]:
        keys = super().scene_keys()
        self._decided = False
        return keys

    def held(self) -> HeldKeys:
        held = super().held()
        if not self._decided:
            self._decided = True
            if self._what == "unarchived":
                self._studio.sql("UPDATE projects SET archived_at = NULL")
            else:
                open_run(self._given, partition="old/scene_1")
        return held


@pytest.mark.parametrize(
    ("what", "why"),
    [("unarchived", "it was taken out of the archive"), ("launched", "a run has begun")],
)
def test_what_happens_in_between_is_seen_in_time(
    what: str,
    why: str,
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    two_films: Studio,
) -> None:
    report = archive(runtime, Interrupted(instance, two_films, what))

    assert report.waiting == {"old": why}
    assert len(scene_keys(instance, "old")) == 3
    assert "old" in instance.get_dynamic_partitions("projects")


@pytest.mark.usefixtures("two_films")
def test_a_backfill_holds_everything_until_it_has_ended(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    """Its runs may be launched at any moment."""
    backfill = PartitionBackfill(
        backfill_id="b1",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=1.0,
    )
    instance.add_backfill(backfill)

    waiting = archive(runtime, InstanceKeys(instance))
    instance.update_backfill(
        backfill.with_status(BulkActionStatus.CANCELED)  # type: ignore[no-untyped-call]  # Dagster's
    )
    done = archive(runtime, InstanceKeys(instance))

    assert set(waiting.waiting) == {"old"}
    assert (waiting.deleted_keys, done.deleted_keys) == (0, 3)


@pytest.mark.usefixtures("two_films")
def test_a_call_is_bounded_and_the_next_one_goes_on(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    first = archive(runtime, InstanceKeys(instance), limit=2)
    second = archive(runtime, InstanceKeys(instance), limit=2)

    assert (first.deleted_keys, first.projects, first.is_complete) == (2, 0, False)
    assert (second.deleted_keys, second.projects, second.is_complete) == (1, 1, True)


def test_a_project_that_comes_back_goes_on_as_before(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, two_films: Studio
) -> None:
    archive(runtime, InstanceKeys(instance))
    two_films.sql("UPDATE projects SET archived_at = NULL WHERE key = 'old'")

    launched = launch_frames(
        instance, runtime, "old", ["scene_1", "scene_2", "scene_3"], mode="ensure"
    )
    launch_storyboard(instance, runtime, "old")

    statuses = {one.scene.scene_id: one.status for one in launched.outcomes}
    assert statuses == {"scene_1": "kept", "scene_2": "generated", "scene_3": "generated"}
    assert len(scene_keys(instance, "old")) == 3


def ask_for_import(studio: Studio) -> None:
    """Ask for something in the archived project's library."""
    studio.sql(
        "INSERT INTO asset_imports (project_id, kind, source, source_url)"
        " SELECT id, 'image', 'url', 'https://nowhere.example/a.png' FROM projects"
        " WHERE key = 'old'"
    )


def library_keys(instance: dg.DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions("libraries"))


@pytest.mark.usefixtures("two_films")
def test_the_librarys_key_goes_along_and_all_others_stay(
    instance: dg.DagsterInstance, runtime: PipelineRuntime
) -> None:
    instance.add_dynamic_partitions("libraries", ["_library", "old", "film"])

    assert archive(runtime, InstanceKeys(instance)).projects == 1
    assert library_keys(instance) == ["_library", "film"]
    # One that an import brought back, in a project that has no other key.
    instance.add_dynamic_partitions("libraries", ["old"])
    assert archive(runtime, InstanceKeys(instance)).projects == 1
    assert library_keys(instance) == ["_library", "film"]


def test_an_import_keeps_the_librarys_key(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, two_films: Studio
) -> None:
    instance.add_dynamic_partitions("libraries", ["old"])
    ask_for_import(two_films)

    asked = archive(runtime, InstanceKeys(instance))
    two_films.sql("UPDATE asset_imports SET state = 'failed', error_code = 'gone'")
    run = open_run(instance, partition="old")
    running = archive(runtime, InstanceKeys(instance))
    instance.report_run_failed(run, "Ended.")

    assert asked.waiting == {"old": "an import is not finished"}
    assert running.waiting == {"old": "a run is under way"}
    assert library_keys(instance) == ["old"]
    assert archive(runtime, InstanceKeys(instance)).projects == 1
    assert library_keys(instance) == []


class AskedMeanwhile(InstanceKeys):
    """An import is asked for once the keys of the scenes are gone."""

    def __init__(self, instance: dg.DagsterInstance, studio: Studio) -> None:
        super().__init__(instance)
        self._studio = studio

    def delete_scene_keys(self, keys: Sequence[str]) -> None:
        super().delete_scene_keys(keys)
        ask_for_import(self._studio)


def test_an_import_that_is_asked_for_in_between_is_seen_in_time(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, two_films: Studio
) -> None:
    instance.add_dynamic_partitions("libraries", ["old"])

    report = archive(runtime, AskedMeanwhile(instance, two_films))

    assert report.waiting == {"old": "an import was asked for"}
    assert library_keys(instance) == ["old"]


def test_an_import_brings_the_librarys_key_back(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, two_films: Studio, daemon: Daemon
) -> None:
    instance.add_dynamic_partitions("libraries", ["old"])
    archive(runtime, InstanceKeys(instance))
    two_films.sql("UPDATE projects SET archived_at = NULL WHERE key = 'old'")
    ask_for_import(two_films)

    [request] = daemon.tick(asset_imports)

    assert request.partition_key == "old"
    assert library_keys(instance) == ["old"]
