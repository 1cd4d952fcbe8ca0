"""Both ways of writing events leave the same rows; the private import rests on this."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest

from scene_pipeline.database.urls import application_url
from scene_pipeline.defs.event_batches import (
    BATCH_SIZE_VARIABLE,
    AssetEvent,
    EventBatches,
    enable_event_batches,
    is_batching_enabled,
)

KEYS = [f"film/scene_{number}" for number in range(1, 6)]
SCENES = dg.DynamicPartitionsDefinition(name="scenes")


@dg.multi_asset(
    specs=[dg.AssetSpec("first", skippable=True), dg.AssetSpec("second", skippable=True)],
    partitions_def=SCENES,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def two_stages(context: dg.AssetExecutionContext) -> Iterator[AssetEvent]:
    batches = EventBatches(context)
    for key in context.partition_keys[:-1]:
        for stage in ("first", "second"):
            batches.add(
                dg.AssetMaterialization(
                    stage,
                    partition=key,
                    description=f"Made {key}",
                    metadata={"key": key},
                    tags={"dagster/data_version": f"of {key}"},
                )
            )
    yield from batches.flush()
    raise dg.Failure("the last scene failed", allow_retries=False)


def execute(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("scenes", KEYS)
    result = dg.materialize(
        [two_stages],
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": KEYS[0],
            "dagster/asset_partition_range_end": KEYS[-1],
        },
    )
    assert not result.success


def rows(url: str) -> dict[str, list[Any]]:
    """What the materializations left in Dagster's tables, without ids and times."""
    with psycopg.connect(application_url(url)) as conn:
        events = conn.execute(
            "SELECT event, asset_key, partition, step_key FROM event_logs"
            " WHERE dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY asset_key, partition"
        ).fetchall()
        tags = conn.execute(
            "SELECT t.asset_key, t.key, t.value, e.partition FROM asset_event_tags t"
            " JOIN event_logs e ON e.id = t.event_id ORDER BY 1, 2, 3, 4"
        ).fetchall()
        assets = conn.execute(
            "SELECT asset_key, last_materialization IS NOT NULL FROM asset_keys ORDER BY 1"
        ).fetchall()
    return {
        "events": [(comparable(json.loads(event)), *rest) for event, *rest in events],
        "tags": tags,
        "assets": assets,
    }


def comparable(value: Any) -> Any:
    """An event without what differs between any two runs."""
    if isinstance(value, dict):
        varying = {"run_id", "timestamp", "pid"}
        return {key: comparable(item) for key, item in value.items() if key not in varying}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return value


def url_of(monkeypatch: pytest.MonkeyPatch) -> str:
    import os

    del monkeypatch
    return os.environ["DAGSTER_DATABASE_URL"]
