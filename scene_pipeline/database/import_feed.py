"""How one import goes, as it was written, from a place in the feed on.

What its bytes became is told besides, of the asset (`database.asset_events`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class ImportFeedRow:
    """A row of `pipeline_events` about an import."""

    id: int
    at: datetime
    kind: str
    data: Mapping[str, Any]


async def events_after(
    conn: Connection, import_id: UUID, after: int, limit: int
) -> list[ImportFeedRow]:
    """What happened to an import after an event, the oldest first.

    Whoever holds the import's lock writes them one after the other, so that none appears later
    before one that was read.

    Args:
        conn: Of the caller.
        import_id: Of the import.
        after: Id of the last event that is known; 0 for all.
        limit: Most rows.
    """
    cursor = await conn.execute(
        "SELECT id, at, kind, data FROM pipeline_events WHERE import_id = %s AND id > %s"
        " AND starts_with(kind, 'upload_') ORDER BY id LIMIT %s",
        (import_id, after, limit),
    )
    return [ImportFeedRow(**row) for row in await cursor.fetchall()]
