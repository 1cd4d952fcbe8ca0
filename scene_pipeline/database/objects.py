"""The register of what is stored: an intent is committed before every upload.

A key is used once. What the collector has marked ('deleting') or removed ('deleted') never comes
back under the same key, so that a deletion that is slow to arrive can never hit a new object.
"""

from typing import LiteralString

from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import LedgerError

OF_NO_DRILL: LiteralString = (
    "NOT EXISTS (SELECT 1 FROM projects d"
    " WHERE d.is_scratch AND starts_with(o.key, 'projects/' || d.id || '/'))"
)
"""Of an object `o`: that it does not go with the project of a drill, whoever may need it then."""


async def register_intent(
    conn: Connection, key: str, *, sha256: str, size_bytes: int, content_type: str
) -> None:
    """Say that an object is about to be written; doing it again for the same key is harmless.

    Doing it again also gives the object a new period of grace with the collector.

    Raises:
        LedgerError: code "object_collected": the key was used up; take another one
            (`pipeline.keeping.frame_keys`).
    """
    cursor = await conn.execute(
        "INSERT INTO storage_objects AS o (key, sha256, size_bytes, content_type)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO UPDATE SET created_at = now()"
        " WHERE o.state IN ('intent', 'present')",
        (key, sha256, size_bytes, content_type),
    )
    if cursor.rowcount != 1:
        raise collected(key)


async def mark_present(conn: Connection, key: str) -> None:
    """Say that an object was written and verified.

    Raises:
        LedgerError: code "object_collected": the collector took it for a leftover meanwhile.
    """
    cursor = await conn.execute(
        "UPDATE storage_objects SET state = 'present'"
        " WHERE key = %s AND state IN ('intent', 'present')",
        (key,),
    )
    if cursor.rowcount != 1:
        raise collected(key)


async def add_reference(conn: Connection, key: str) -> None:
    """Count one more row that needs the object; from then on it is not collected.

    Raises:
        LedgerError: code "object_collected": it is no longer there to be kept.
    """
    cursor = await conn.execute(
        "UPDATE storage_objects SET refcount = refcount + 1 WHERE key = %s AND state = 'present'",
        (key,),
    )
    if cursor.rowcount != 1:
        raise collected(key)


async def release_reference(conn: Connection, key: str) -> None:
    """Count one row less that needs the object; it gets a new period of grace."""
    await conn.execute(
        "UPDATE storage_objects SET refcount = refcount - 1, created_at = now() WHERE key = %s",
        (key,),
    )


async def find_present(conn: Connection, sha256: str, content_type: str) -> str | None:
    """The key of an object with these bytes that may be shared; never a drill's own.

    It may be collected before a reference is counted: `add_reference` tells.
    """
    cursor = await conn.execute(
        "SELECT o.key FROM storage_objects o WHERE o.sha256 = %s AND o.state = 'present'"
        f" AND o.content_type = %s AND {OF_NO_DRILL}"
        " ORDER BY o.refcount DESC, o.created_at LIMIT 1",
        (sha256, content_type),
    )
    row = await cursor.fetchone()
    return str(row["key"]) if row else None


def collected(key: str) -> LedgerError:
    """The error of needing an object that was collected."""
    message = f"Object {key} was collected before anything referred to it."
    return LedgerError(message, code="object_collected", retryable=True)
