"""Dagster's own storage on PostgreSQL, with connections kept where it opens one per event.

Belongs here: connections of the event log. Does not belong here: what is written (`event_batches`).

Creating a run writes a *planned* event per scene and stage, one by one, and Dagster opens two
connections for each: 8 to 10 s before a run of 100 scenes can be queued, spent by the daemon, where
nothing but the instance's configuration reaches. `dagster.yaml` names this class as its storage.
"""

from collections.abc import Mapping
from typing import Any, Self

import sqlalchemy
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage

_KEPT_CONNECTIONS = 1
"""Per process; threads that write at the same moment open others, and close them again."""
_MORE_CONNECTIONS = 15
_RECYCLE_SECONDS = 300


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

    def dispose(self) -> None:
        """Close what is kept."""
        super().dispose()
        self._engine.dispose()


class KeptPostgresStorage(DagsterPostgresStorage):
    """`dagster_postgres`'s storage, with an event log that keeps its connection."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """Build it as Dagster does, from the fields of `storage: postgres`."""
        storage = cls(config_value["postgres_url"], inst_data=inst_data)
        storage._event_log_storage = KeptPostgresEventLog(storage.postgres_url)
        return storage
