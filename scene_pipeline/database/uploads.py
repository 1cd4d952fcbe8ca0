"""Uploads from outside: permitted, confirmed or expired; and the objects they arrive as.

Belongs here: that, in rows. Does not belong here: what is permitted and what arrived
(`pipeline.library.uploads`).

Where an upload may arrive is a row of `storage_objects` with one reference, the import's, so that
the collector leaves it alone; letting go of it marks the object, and whoever removes its bytes says
so. The key is never used again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.identity import UPLOADS_PREFIX, AssetKind


@dataclass(frozen=True, slots=True)
class NewUpload:
    """A permission that is about to be given, as columns of `asset_imports`."""

    id: UUID
    kind: AssetKind
    upload_key: str
    upload_content_type: str
    upload_max_bytes: int
    name: str | None = None
    tags: tuple[str, ...] = ()
    project_id: UUID | None = None
    client_id: str | None = None
    campaign_id: str | None = None
    user_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


async def insert_upload(conn: Connection, new: NewUpload) -> None:
    """Write down that an upload is awaited, and where."""
    async with conn.transaction():
        await conn.execute(
            "INSERT INTO storage_objects (key, content_type, refcount) VALUES (%s, %s, 1)",
            (new.upload_key, new.upload_content_type),
        )
        await conn.execute(
            "INSERT INTO asset_imports (id, state, source, kind, upload_key, upload_content_type,"
            " upload_max_bytes, name, tags, project_id, client_id, campaign_id, user_id, metadata)"
            " VALUES (%s, 'awaiting_upload', 'upload', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                new.id,
                new.kind,
                new.upload_key,
                new.upload_content_type,
                new.upload_max_bytes,
                new.name,
                list(new.tags),
                new.project_id,
                new.client_id,
                new.campaign_id,
                new.user_id,
                Jsonb(dict(new.metadata)),
            ),
        )


async def confirm_upload(conn: Connection, import_id: UUID, size_bytes: int) -> bool:
    """Say that an upload has arrived, so that it is imported; False where it no longer waits."""
    async with conn.transaction():
        cursor = await conn.execute(
            "UPDATE asset_imports SET state = 'pending', due_at = now(), bytes_total = %s"
            " WHERE id = %s AND state = 'awaiting_upload'",
            (size_bytes, import_id),
        )
    return cursor.rowcount == 1


async def let_go_of_upload(conn: Connection, key: str | None) -> None:
    """Mark the object of an upload for removal, inside the caller's transaction; no other one."""
    if key is not None:
        await conn.execute(
            "UPDATE storage_objects SET refcount = 0, state = 'deleting'"
            " WHERE key = %s AND state = 'intent' AND starts_with(key, %s)",
            (key, f"{UPLOADS_PREFIX}/"),
        )


async def unconfirmed_uploads(conn: Connection, age: timedelta, limit: int) -> list[UUID]:
    """Uploads that were permitted that long ago and never confirmed, the oldest first."""
    cursor = await conn.execute(
        "SELECT id FROM asset_imports WHERE state = 'awaiting_upload'"
        " AND created_at < now() - %s ORDER BY created_at LIMIT %s",
        (age, limit),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def give_up_upload(
    conn: Connection, import_id: UUID, *, code: str, message: str, next_action: str
) -> bool:
    """Give up an upload that still waits, inside the caller's transaction; its object is marked.

    Returns:
        False where it was confirmed, or given up, meanwhile.
    """
    cursor = await conn.execute(
        "UPDATE asset_imports SET state = 'expired', finished_at = now(), error_code = %s,"
        " error_message = %s, error_next_action = %s"
        " WHERE id = %s AND state = 'awaiting_upload' RETURNING upload_key",
        (code, message, next_action, import_id),
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    await let_go_of_upload(conn, row["upload_key"])
    return True


async def marked_uploads(conn: Connection, limit: int) -> list[str]:
    """Objects of uploads that were let go of and whose bytes may still be there."""
    cursor = await conn.execute(
        "SELECT key FROM storage_objects WHERE refcount = 0 AND state = 'deleting'"
        " AND starts_with(key, %s) ORDER BY created_at LIMIT %s",
        (f"{UPLOADS_PREFIX}/", limit),
    )
    return [row["key"] for row in await cursor.fetchall()]


async def mark_arrived_again(conn: Connection, keys: Sequence[str]) -> None:
    """Mark removed uploads again under whose keys something lies.

    A permission works until its time is over, also when what it brought is imported already.
    """
    async with conn.transaction():
        await conn.execute(
            "UPDATE storage_objects SET state = 'deleting'"
            " WHERE key = ANY(%s) AND state = 'deleted'",
            (list(keys),),
        )


async def mark_uploads_removed(conn: Connection, keys: Sequence[str]) -> None:
    """Say that the bytes of uploads are gone."""
    async with conn.transaction():
        await conn.execute(
            "UPDATE storage_objects SET state = 'deleted'"
            " WHERE key = ANY(%s) AND state = 'deleting'",
            (list(keys),),
        )
