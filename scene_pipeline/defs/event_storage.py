"""Dagster's own storage on PostgreSQL, with connections kept where it opens one per event.

Belongs here: connections of the event log. Does not belong here: what is written (`event_batches`).

Creating a run writes a *planned* event per scene and stage, one by one, and Dagster opens two
connections for each: 8 to 10 s before a run of 100 scenes can be queued, spent by the daemon, where
nothing but the instance's configuration reaches. `dagster.yaml` names this class as its storage.

Of a check that is planned for a range of scenes it would keep a row per scene, each with the names
of all scenes in it: 60 MB for a run of 500 scenes with seven checks, and "execution failed" for
every check that came to no verdict. A row is kept when there is a verdict, and the last one stands
until then. Results of checks are written in batches, which Dagster does for materializations alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import dagster as dg
import sqlalchemy
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage

_KEPT_CONNECTIONS = 1
"""Per process; threads that write at the same moment open others, and close them again."""
_MORE_CONNECTIONS = 15
_RECYCLE_SECONDS = 300
_KEEP_RESULT = sqlalchemy.text(
    "INSERT INTO asset_check_executions (asset_key, check_name, partition, run_id,"
    " execution_status, evaluation_event, evaluation_event_timestamp,"
    " evaluation_event_storage_id, materialization_event_storage_id)"
    " VALUES (:asset_key, :check_name, :partition, :run_id, :status, :evaluation, :at, :event,"
    " :target) ON CONFLICT (asset_key, check_name, run_id, partition) DO UPDATE SET"
    " execution_status = excluded.execution_status, evaluation_event = excluded.evaluation_event,"
    " evaluation_event_timestamp = excluded.evaluation_event_timestamp,"
    " evaluation_event_storage_id = excluded.evaluation_event_storage_id,"
    " materialization_event_storage_id = excluded.materialization_event_storage_id"
)

_NEWEST = sqlalchemy.text(
    "SELECT DISTINCT ON (partition) partition, id, run_id, timestamp FROM event_logs"
    " WHERE asset_key = :asset_key AND dagster_event_type = 'ASSET_MATERIALIZATION'"
    " AND partition = ANY(:partitions) ORDER BY partition, id DESC"
)


@dataclass(frozen=True, slots=True)
class NewestMaterialization:
    """Where a partition's newest materialization stands in the event log."""

    partition: str
    storage_id: int
    run_id: str
    timestamp: float
    """Seconds since 1970."""


class KeptPostgresEventLog(PostgresEventLogStorage):
    """The event log with a connection that is kept, and looked at before each use.

    A restart of the database is sat out as before: a connection that died is replaced.
    """

    def __init__(self, postgres_url: str) -> None:
        # Its tables were made by the storage whose part it becomes.
        super().__init__(postgres_url, should_autocreate_tables=False)
        self._engine = sqlalchemy.create_engine(
            postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=_KEPT_CONNECTIONS,
            max_overflow=_MORE_CONNECTIONS,
            pool_recycle=_RECYCLE_SECONDS,
            pool_pre_ping=True,
        )

    def store_asset_check_event(self, event: dg.EventLogEntry, event_id: int | None) -> None:
        """Keep a check's result; that one is planned stands in the run's log alone."""
        if event.dagster_event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            super().store_asset_check_event(event, event_id)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Write events together; results of checks in two statements, however many they are."""
        results = [_result_row(event) for event in events]
        rows = [row for row in results if row is not None]
        if len(rows) < len(events):  # others among them: Dagster knows what it can batch
            super().store_event_batch(events)
            return
        statement = self.prepare_insert_event_batch(events).returning(sqlalchemy.column("id"))
        with self.index_connection() as conn:
            ids = conn.execute(statement).scalars().all()
            conn.execute(
                _KEEP_RESULT, [{**row, "event": id_} for row, id_ in zip(rows, ids, strict=True)]
            )

    def newest_materializations(
        self, asset_key: dg.AssetKey, partitions: Collection[str]
    ) -> list[NewestMaterialization]:
        """The newest materialization of each partition, without what it says."""
        values = {"asset_key": asset_key.to_string(), "partitions": list(partitions)}
        with self.index_connection() as conn:
            return [
                NewestMaterialization(
                    row.partition, row.id, row.run_id, row.timestamp.replace(tzinfo=UTC).timestamp()
                )
                for row in conn.execute(_NEWEST, values)
            ]

    def dispose(self) -> None:
        """Close what is kept."""
        super().dispose()
        self._engine.dispose()


def _result_row(event: dg.EventLogEntry) -> dict[str, object] | None:
    """What the table of checks holds of a run's result; None for any other event."""
    dagster_event = event.dagster_event
    if dagster_event is None or not event.run_id:
        return None
    result = dagster_event.event_specific_data
    if not isinstance(result, dg.AssetCheckEvaluation) or result.partition is None:
        return None
    target = result.target_materialization_data
    return {
        "asset_key": result.asset_key.to_string(),
        "check_name": result.check_name,
        "partition": result.partition,
        "run_id": event.run_id,
        "status": "SUCCEEDED" if result.passed else "FAILED",
        "evaluation": dg.serialize_value(event),
        "at": datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None),
        "target": None if target is None else target.storage_id,
    }


class KeptPostgresStorage(DagsterPostgresStorage):
    """`dagster_postgres`'s storage, with an event log that keeps its connection."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """Build it as Dagster does, from the fields of `storage: postgres`."""
        storage = cls(config_value["postgres_url"], inst_data=inst_data)
        storage._event_log_storage = KeptPostgresEventLog(storage.postgres_url)
        return storage
