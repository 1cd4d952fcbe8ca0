"""The register of what is stored: an intent is committed before every upload."""

from scene_pipeline.database.rows import Connection


async def register_intent(
    conn: Connection, key: str, *, sha256: str, size_bytes: int, content_type: str
) -> None:
    """Say that an object is about to be written; doing it again for the same key is harmless."""
    await conn.execute(
        "INSERT INTO storage_objects (key, sha256, size_bytes, content_type)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO NOTHING",
        (key, sha256, size_bytes, content_type),
    )


async def mark_present(conn: Connection, key: str) -> None:
    """Say that an object was written and verified."""
    await conn.execute(
        "UPDATE storage_objects SET state = 'present' WHERE key = %s AND state = 'intent'", (key,)
    )


async def add_reference(conn: Connection, key: str) -> bool:
    """Count one more row that needs the object; False when it is no longer there to be kept."""
    cursor = await conn.execute(
        "UPDATE storage_objects SET refcount = refcount + 1 WHERE key = %s AND state = 'present'",
        (key,),
    )
    return cursor.rowcount == 1
