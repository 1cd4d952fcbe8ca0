"""What happened to assets of the library, in the feed, and who it was done for.

Belongs here: events about one asset, written in the transaction of its change. Does not belong
here: the changes themselves (`database.asset_changes`), and how imports go (`database.imports`).
"""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.events import append_event
from scene_pipeline.database.rows import Connection

AssetEventKind = Literal[
    "asset_added", "asset_replaced", "asset_renamed", "asset_tagged", "asset_removed"
]


async def append_asset_event(
    conn: Connection,
    kind: AssetEventKind,
    asset: AssetRow,
    *,
    import_id: UUID | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append an event about an asset as it is now, inside the caller's transaction.

    Args:
        conn: In the transaction of the change.
        kind: What was done.
        asset: Read after the change.
        import_id: The import that it was done for.
        data: What else is told.
    """
    facts = {
        "asset_id": asset.asset_id,
        "kind": asset.kind,
        "name": asset.name,
        "content_version": asset.content_version,
    }
    await append_event(
        conn,
        kind,
        project_id=asset.project_id,
        import_id=import_id,
        data={**facts, **(data or {})},
    )


async def was_made_for(conn: Connection, import_id: UUID, asset_id: str, sha256: str) -> bool:
    """Whether an import, by a run that ended before it could say so, gave an asset these bytes."""
    cursor = await conn.execute(
        "SELECT 1 FROM pipeline_events WHERE import_id = %s"
        " AND kind IN ('asset_added', 'asset_replaced')"
        " AND data ->> 'asset_id' = %s AND data ->> 'sha256' = %s LIMIT 1",
        (import_id, asset_id, sha256),
    )
    return await cursor.fetchone() is not None
