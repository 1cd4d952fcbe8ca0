"""Both ways of writing events leave the same rows; the private import rests on this."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest

from scene_pipeline.defs.event_batches import (
    BATCH_SIZE_VARIABLE,
    AssetEvent,
    EventBatches,
    enable_event_batches,
    is_batching_enabled,
)

KEYS = [f"film/scene_{number}" for number in range(1, 6)]
FAILED = KEYS[-1]
WRITTEN = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}
RANGE = {
    "dagster/asset_partition_range_start": KEYS[0],
    "dagster/asset_partition_range_end": KEYS[-1],
}


SCENES = dg.DynamicPartitionsDefinition(name="scenes")


@dg.multi_asset(
    specs=[dg.AssetSpec("first", skippable=True), dg.AssetSpec("second", skippable=True)],
    check_specs=[dg.AssetCheckSpec("is_sharp", asset="first", partitions_def=SCENES)],
    partitions_def=SCENES,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def two_stages(context: dg.AssetExecutionContext) -> Iterator[AssetEvent]:
    batches = EventBatches(context)
    for key in context.partition_keys:
        for stage in ("first", "second"):
            if key != FAILED:
                batches.add(
                    dg.AssetMaterialization(
                        stage,
                        partition=key,
                        description=f"Made {key}",
                        metadata={"key": key, "version": 1},
                        tags={"dagster/data_version": f"of {key}"},
                    )
                )
        batches.add(
            dg.AssetCheckEvaluation(
                dg.AssetKey("first"),
                "is_sharp",
                passed=key != FAILED,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"Looked at {key}" if key != KEYS[0] else None,
                metadata={"version": 1},
                partition=key,
            )
        )
    yield from batches.flush()
    raise dg.Failure("the last scene failed", allow_retries=False)


def execute(instance: dg.DagsterInstance) -> str:
    instance.add_dynamic_partitions("scenes", KEYS)
    result = dg.materialize([two_stages], instance=instance, raise_on_error=False, tags=RANGE)
    assert not result.success
    return result.run_id


def rows_of(url: str, run_id: str) -> dict[str, list[Any]]:
    """What a run's materializations left in Dagster's tables, without ids and times."""
    with psycopg.connect(url) as conn:
        events = conn.execute(
            "SELECT event, asset_key, partition, step_key FROM event_logs WHERE run_id = %s"
            " AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY asset_key, partition",
            (run_id,),
        ).fetchall()
        results = conn.execute(
            "SELECT e.event, e.asset_key, e.partition, e.step_key FROM event_logs e"
            " WHERE run_id = %s AND dagster_event_type = 'ASSET_CHECK_EVALUATION' ORDER BY e.id",
            (run_id,),
        ).fetchall()
        checks = conn.execute(
            "SELECT c.evaluation_event, c.asset_key, c.check_name, c.partition, c.execution_status,"
            " c.materialization_event_storage_id IS NOT DISTINCT FROM (SELECT max(m.id)"
            "   FROM event_logs m WHERE m.asset_key = c.asset_key AND m.partition = c.partition"
            "   AND m.dagster_event_type = 'ASSET_MATERIALIZATION' AND m.run_id = c.run_id),"
            " e.event = c.evaluation_event,"
            " c.evaluation_event_timestamp = e.timestamp FROM asset_check_executions c"
            " LEFT JOIN event_logs e ON e.id = c.evaluation_event_storage_id"
            " WHERE c.run_id = %s ORDER BY c.id",
            (run_id,),
        ).fetchall()
        tags = conn.execute(
            "SELECT t.asset_key, t.key, t.value, e.partition FROM asset_event_tags t"
            " JOIN event_logs e ON e.id = t.event_id WHERE e.run_id = %s ORDER BY 1, 2, 3, 4",
            (run_id,),
        ).fetchall()
        summaries = conn.execute(
            "SELECT asset_key FROM asset_keys WHERE last_run_id = %s"
            " AND last_materialization LIKE '%%' || %s || '%%' ORDER BY 1",
            (run_id, run_id),
        ).fetchall()
    return {
        "events": [(_comparable(json.loads(event)), *rest) for event, *rest in events],
        "results": [(_comparable(json.loads(event)), *rest) for event, *rest in results],
        "checks": [(_comparable(json.loads(event)), *rest) for event, *rest in checks],
        "tags": tags,
        "summaries": summaries,
    }


def _comparable(value: Any) -> Any:
    """An event without what differs between any two runs."""
    if isinstance(value, dict):
        return {
            key: _comparable(item)
            for key, item in value.items()
            if key not in {"run_id", "storage_id", "timestamp", "pid", "logging_tags"}
        }
    return [_comparable(item) for item in value] if isinstance(value, list) else value


def test_batched_and_single_events_leave_the_same_rows(
    instance: dg.DagsterInstance, instance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {}
    for size in ("0", "3", "500"):  # one by one; batches cut in the middle; whole batches
        monkeypatch.setenv(BATCH_SIZE_VARIABLE, size)
        rows[size] = rows_of(instance_url, execute(instance))

    assert [partition for _, _, partition, _ in rows["0"]["events"]] == 2 * sorted(KEYS[:-1])
    assert rows["0"]["summaries"] == [('["first"]',), ('["second"]',)]
    assert len(rows["0"]["tags"]) >= 8
    assert len(rows["0"]["results"]) == len(KEYS)
    assert [row[3:5] for row in rows["0"]["checks"]] == [
        (key, "FAILED" if key == FAILED else "SUCCEEDED") for key in KEYS
    ], "what is planned leaves no row"
    assert all(row[5] for row in rows["0"]["checks"]), "each is about its own materialization"
    assert rows["3"] == rows["0"]
    assert rows["500"] == rows["0"]


def test_a_batch_is_written_by_few_statements(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point of it all: the store is called once per asset, and once for all results."""
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, "500")
    sizes: list[int] = []
    store = type(instance.event_log_storage)
    write = store.store_event_batch

    def counted(self: Any, events: Any) -> None:
        if events[0].get_dagster_event().event_type in WRITTEN:
            sizes.append(len(events))
        write(self, events)

    monkeypatch.setattr(store, "store_event_batch", counted)

    execute(instance)

    assert sizes == [4, 4, 5]


@pytest.mark.parametrize("size", ["0", "500"])
def test_scenes_of_a_failed_run_are_marked_failed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, size)

    execute(instance)

    for asset in ("first", "second"):
        key = dg.AssetKey(asset)
        assert instance.get_materialized_partitions(key) == set(KEYS[:-1])
        statuses = instance.get_status_by_partition(
            key, KEYS, dg.DynamicPartitionsDefinition(name="scenes")
        )
        assert statuses is not None
        named = {key: None if status is None else status.value for key, status in statuses.items()}
        assert named == {**dict.fromkeys(KEYS[:-1], "MATERIALIZED"), FAILED: "FAILED"}


def test_batches_are_on_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not is_batching_enabled()
    enable_event_batches()
    assert is_batching_enabled()
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, "0")
    enable_event_batches()
    assert not is_batching_enabled()


def test_a_batch_is_due_when_it_is_old_or_full() -> None:
    time = 0.0
    due: list[bool] = []

    @dg.asset
    def probe(context: dg.AssetExecutionContext) -> None:
        nonlocal time
        batches = EventBatches(context, window_seconds=0.2, max_events=2, clock=lambda: time)
        due.append(batches.is_due)
        batches.add(dg.AssetMaterialization("first"))
        due.append(batches.is_due)
        time = 0.25
        due.append(batches.is_due)
        list(batches.flush())
        due.append(batches.is_due)
        batches.add(dg.AssetMaterialization("first"))
        batches.add(dg.AssetMaterialization("first"))
        due.append(batches.is_due)

    dg.materialize([probe])

    assert due == [False, False, True, False, True]
