"""What Dagster's event log says of partitions last.

Belongs here: reading the newest events of many partitions at once. Does not belong here: writing
them (`event_batches`), and how our own event log answers without what events say (`event_storage`).
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import dagster as dg

from scene_pipeline.defs.event_storage import KeptPostgresEventLog, NewestMaterialization

_RECORDS_PER_READ = 100
"""A materialization with its pictures takes 7 to 60 kB."""


@dataclass(frozen=True, slots=True)
class ToldFrame:
    """What the page of a scene's frame shows: observations lie over a materialization."""

    storage_id: int
    version: object
    url: object
    is_in_document: object
    is_observation: bool
    """Whether an observation lies on top."""
    names: frozenset[str]
    """Of the materialization's metadata, and of the newest observation's."""


def newest_materializations(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: AbstractSet[str]
) -> Iterator[NewestMaterialization]:
    """Where the newest materialization of each partition stands.

    One statement on our own event log; Dagster's reads the events with their pictures.
    """
    storage = instance.event_log_storage
    if isinstance(storage, KeptPostgresEventLog):
        yield from storage.newest_materializations(asset_key, keys)
        return
    for record in _newest(instance, asset_key, keys, dg.DagsterEventType.ASSET_MATERIALIZATION):
        if record.partition_key is not None:
            yield NewestMaterialization(
                record.partition_key, record.storage_id, record.run_id, record.timestamp
            )


def told_frames(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: AbstractSet[str]
) -> dict[str, ToldFrame]:
    """What the newest materialization and the observations since say of frames, by partition."""
    found: dict[str, ToldFrame] = {}
    for kind in (
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_OBSERVATION,
    ):
        for record in _newest(instance, asset_key, keys, kind):
            event = record.asset_materialization or record.asset_observation
            before = found.get(record.partition_key or "")
            if event is None or record.partition_key is None:
                continue
            if before is not None and before.storage_id > record.storage_id:
                continue
            said = {name: value.value for name, value in event.metadata.items()}
            found[record.partition_key] = ToldFrame(
                storage_id=record.storage_id,
                version=said.get("version"),
                url=said.get("url"),
                is_in_document=said.get("is_in_document", True),
                is_observation=kind is dg.DagsterEventType.ASSET_OBSERVATION,
                names=frozenset(said) | (before.names if before else frozenset()),
            )
    return found


def scenes_with_results(
    instance: dg.DagsterInstance, check_key: dg.AssetCheckKey, keys: AbstractSet[str]
) -> frozenset[str]:
    """Partitions of which a check has a result about the newest materialization."""
    found = instance.event_log_storage.get_asset_check_partition_info(
        [check_key], partition_keys=sorted(keys)
    )
    return frozenset(one.partition_key for one in found if one.partition_key and one.is_current)


def _newest(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    keys: AbstractSet[str],
    kind: dg.DagsterEventType,
) -> Iterator[dg.EventLogRecord]:
    """The newest event of a kind of each partition, as it was written."""
    if not keys:
        return
    ids = list(instance.get_latest_storage_id_by_partition(asset_key, kind, set(keys)).values())
    is_observation = kind is dg.DagsterEventType.ASSET_OBSERVATION
    fetch = instance.fetch_observations if is_observation else instance.fetch_materializations
    for first in range(0, len(ids), _RECORDS_PER_READ):
        chunk = ids[first : first + _RECORDS_PER_READ]
        yield from fetch(
            dg.AssetRecordsFilter(asset_key, storage_ids=chunk), limit=len(chunk)
        ).records
