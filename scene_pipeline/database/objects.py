"""The register of what is stored: an intent is committed before every upload.

A key is used once. What the collector has marked ('deleting') or removed ('deleted') never comes
back under the same key, so that a deletion that is slow to arrive can never hit a new object.
"""

from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import LedgerError


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


def collected(key: str) -> LedgerError:
    """The error of needing an object that was collected."""
    message = f"Object {key} was collected before anything referred to it."
    return LedgerError(message, code="object_collected", retryable=True)
