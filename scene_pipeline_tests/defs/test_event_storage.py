"""The event log keeps its connection, and loses nothing where that dies."""

from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest
import sqlalchemy

from scene_pipeline.defs.event_storage import KeptPostgresEventLog
from scene_pipeline.defs.partitions import range_tags, register_partitions
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.scenes.identity import partition_key
from scene_pipeline_tests.defs.ticks import Daemon

SCENES = 10
STAGES = 4


@pytest.fixture
def opened() -> Iterator[list[object]]:
    """Every connection that SQLAlchemy opens, for whatever engine."""
    connections: list[object] = []

    def note(connection: object, _record: object) -> None:
        connections.append(connection)

    sqlalchemy.event.listen(sqlalchemy.Pool, "connect", note)
    yield connections
    sqlalchemy.event.remove(sqlalchemy.Pool, "connect", note)


def create_run(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> dg.DagsterRun:
    """Create a run as the daemon does for a sensor: this writes its planned events."""
    keys = [partition_key("film", f"scene_{number}") for number in range(SCENES)]
    register_partitions(instance, "film", keys)
    return instance.create_run_for_job(
        Daemon(instance, runtime).job, tags=range_tags(keys[0], keys[-1])
    )


def planned_events(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    return len(instance.get_records_for_run(run.run_id, of_type=planned).records)


def test_creating_a_run_does_not_open_connections_for_every_scene(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, opened: list[object]
) -> None:
    run = create_run(instance, runtime)

    assert planned_events(instance, run) == SCENES * STAGES
    assert len(opened) < SCENES * STAGES


def test_a_connection_that_died_is_replaced(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, instance_url: str
) -> None:
    create_run(instance, runtime)
    with psycopg.connect(instance_url, autocommit=True) as conn:
        ended = conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended  # so that there was one that was kept

    run = create_run(instance, runtime)

    assert planned_events(instance, run) == SCENES * STAGES


def test_the_newest_materializations_are_found_without_what_they_say(
    instance: dg.DagsterInstance,
) -> None:
    asset_key = dg.AssetKey("scene_image")
    for key in ("film/one", "film/two", "film/one", "film/other"):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key, partition=key))
    storage = instance.event_log_storage
    assert isinstance(storage, KeptPostgresEventLog)

    found = storage.newest_materializations(asset_key, ["film/one", "film/two", "film/never"])

    records = instance.fetch_materializations(asset_key, limit=10).records  # the newest first
    told = [(r.partition_key, r.storage_id, r.run_id) for r in (records[1], records[2])]
    assert [(f.partition, f.storage_id, f.run_id) for f in found] == told
    assert found[0].timestamp == pytest.approx(records[1].timestamp, abs=1e-5)
