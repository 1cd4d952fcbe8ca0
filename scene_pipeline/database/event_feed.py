"""The feed read forward: every event once, in the order of the ids, with nothing left out.

An id is given before its transaction commits, so that a smaller id can become visible after a
larger one. Whoever inserts into a table holds a lock on it from before the id is drawn until the
transaction has ended. So the reader notes the largest id that it can see, then who holds that lock;
once all of those have ended, everything up to that id is there or will never be, and is told. A
transaction that has written no event holds up nothing.

Belongs here: reading for those who follow everything. Does not belong here: words (`cli.watch`),
and how one import goes (`database.import_feed`: its rows have one writer at a time).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from scene_pipeline.database.rows import OPEN, Connection, GenerationState

MAX_UNDER_WAY = 1000
LOOK_BACK = 1000
"""How many ids before the newest are looked at for those that open transactions have drawn."""
_ROWS: LiteralString = (
    "SELECT e.id, e.at, e.kind, p.key AS project_key, e.scene_id, e.generation_id, e.import_id,"
    " e.run_id, e.data, g.provider, g.endpoint AS model, g.error_code, g.error_message,"
    " g.error_next_action"
    " FROM pipeline_events e LEFT JOIN projects p ON p.id = e.project_id"
    " LEFT JOIN generations g ON g.id = e.generation_id"
    " WHERE e.id > %(after)s AND e.id <= %(until)s"
)


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """A row of `pipeline_events`, with what the ledger knows of its generation now."""

    id: int
    at: datetime
    kind: str
    project_key: str | None
    scene_id: str | None
    generation_id: UUID | None
    import_id: UUID | None
    run_id: str | None
    data: Mapping[str, Any]
    provider: str | None
    model: str | None
    error_code: str | None
    error_message: str | None
    error_next_action: str | None


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A generation that is not finished."""

    project_key: str
    scene_id: str
    generation_id: UUID
    state: GenerationState
    provider: str
    model: str
    since: datetime
    """When it was sent, or planned where it was not yet."""


@dataclass
class EventFeed:
    """A place in the feed that only moves forward; outlives the connections that it is read with.

    Args:
        after: Id of the last event that is known; 0 for all.
        project_id: Only this project's events; None for all, those of no project included.
    """

    after: int
    project_id: UUID | None = None
    held_up_by: frozenset[str] = field(default_factory=frozenset)
    """Transactions that may still add what comes before events that are there already."""
    _until: int | None = None
    _known: frozenset[int] = field(default_factory=frozenset)
    """Ids after `after` that were visible before the place was taken, and are not told."""

    @classmethod
    async def from_now_on(cls, conn: Connection, project_id: UUID | None) -> "EventFeed":
        """A place behind everything that is visible, and before what is not committed yet.

        Args:
            conn: In autocommit, so that every statement sees what was committed before it.
            project_id: As above.
        """
        newest = await newest_event_id(conn)
        if not await _writers(conn):
            return cls(newest, project_id)
        after = max(newest - LOOK_BACK, 0)
        cursor = await conn.execute("SELECT id FROM pipeline_events WHERE id > %s", (after,))
        known = frozenset(row["id"] for row in await cursor.fetchall())
        return cls(after, project_id, _known=known)

    @property
    def newest_known(self) -> int:
        """Id after which everything is told."""
        return max(self._known, default=self.after)

    async def read(self, conn: Connection, limit: int) -> list[FeedEvent]:
        """What can be told now, the oldest first; nothing while an open transaction is before it.

        Args:
            conn: In autocommit, so that every statement sees what was committed before it.
            limit: Most rows that are read at once.
        """
        if self._until is None:
            newest = await newest_event_id(conn)
            if newest <= self.after:
                return []
            self._until = newest
            self.held_up_by = await _writers(conn)
        elif self.held_up_by:
            self.held_up_by &= await _writers(conn)
        if self.held_up_by:
            return []
        events = await _events(conn, self.after, self._until, self.project_id, limit)
        if len(events) < limit or events[-1].id == self._until:
            self.after, self._until = self._until, None
        else:
            self.after = events[-1].id
        told = [event for event in events if event.id not in self._known]
        if self._until is None:
            self._known = frozenset()
        return told

    @property
    def has_more(self) -> bool:
        """Whether there is more to be read at once."""
        return self._until is not None and not self.held_up_by

    def reconnected(self) -> None:
        """Take nothing for granted that was seen of transactions before the connection was lost."""
        self._until, self.held_up_by = None, frozenset()


async def newest_event_id(conn: Connection) -> int:
    """The largest id that is visible; 0 where nothing has happened yet."""
    cursor = await conn.execute("SELECT coalesce(max(id), 0) AS id FROM pipeline_events")
    row = await cursor.fetchone()
    return int(row["id"]) if row else 0


async def under_way(conn: Connection, project_id: UUID | None) -> list[UnderWay]:
    """Generations that are not finished, the oldest first; at most `MAX_UNDER_WAY`."""
    cursor = await conn.execute(
        "SELECT p.key AS project_key, g.scene_id, g.id AS generation_id, g.state, g.provider,"
        " g.endpoint AS model, coalesce(g.submitted_at, g.created_at) AS since"
        " FROM generations g JOIN projects p ON p.id = g.project_id"
        f" WHERE g.{OPEN} AND (%(project)s::uuid IS NULL OR g.project_id = %(project)s)"
        " ORDER BY g.seq LIMIT %(limit)s",
        {"project": project_id, "limit": MAX_UNDER_WAY},
    )
    return [UnderWay(**row) for row in await cursor.fetchall()]


async def _writers(conn: Connection) -> frozenset[str]:
    """Transactions that write events, or have and did not end yet."""
    cursor = await conn.execute(
        "SELECT virtualtransaction AS name FROM pg_locks WHERE locktype = 'relation'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND relation = 'pipeline_events'::regclass AND mode = 'RowExclusiveLock' AND granted"
    )
    return frozenset(row["name"] for row in await cursor.fetchall())


async def _events(
    conn: Connection, after: int, until: int, project_id: UUID | None, limit: int
) -> list[FeedEvent]:
    chosen: LiteralString = "" if project_id is None else " AND e.project_id = %(project)s"
    cursor = await conn.execute(
        f"{_ROWS}{chosen} ORDER BY e.id LIMIT %(limit)s",
        {"after": after, "until": until, "project": project_id, "limit": limit},
    )
    return [FeedEvent(**{**row, "data": _members(row["data"])}) for row in await cursor.fetchall()]


def _members(data: Any) -> Mapping[str, Any]:
    """An event's facts: another program's row may hold anything that is JSON."""
    return data if isinstance(data, Mapping) else {"data": data}
