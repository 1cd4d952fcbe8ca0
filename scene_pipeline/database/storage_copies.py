"""What has been brought to another store and verified there: `storage copy` goes on from it.

Belongs here: SQL. Does not belong here: bringing it (`pipeline.upkeep.storage_copy`), addresses
(`database.addresses`).

A row says that the object's bytes were seen in that store, whole. Only what is 'present' in the
register counts: what the collector has taken meanwhile is no part of the library any more.
"""

from dataclasses import dataclass

from scene_pipeline.database.collection import Amount
from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class LibraryObject:
    """An object of the register that is there."""

    key: str
    sha256: str
    size_bytes: int


async def objects_to_copy(
    conn: Connection, target: str, after_key: str, limit: int
) -> list[LibraryObject]:
    """A page of what is not in that store yet, in the order of the keys."""
    cursor = await conn.execute(
        "SELECT o.key, o.sha256, o.size_bytes FROM storage_objects o"
        " WHERE o.state = 'present' AND o.key > %(after)s AND NOT EXISTS ("
        "   SELECT 1 FROM storage_copies c WHERE c.target = %(target)s AND c.key = o.key)"
        " ORDER BY o.key LIMIT %(limit)s",
        {"target": target, "after": after_key, "limit": limit},
    )
    return [LibraryObject(**row) for row in await cursor.fetchall()]


async def copied_objects(
    conn: Connection, target: str, after_key: str, limit: int
) -> list[LibraryObject]:
    """A page of what was brought to that store, in the order of the keys."""
    cursor = await conn.execute(
        "SELECT o.key, o.sha256, o.size_bytes FROM storage_copies c"
        " JOIN storage_objects o ON o.key = c.key AND o.state = 'present'"
        " WHERE c.target = %(target)s AND c.key > %(after)s ORDER BY c.key LIMIT %(limit)s",
        {"target": target, "after": after_key, "limit": limit},
    )
    return [LibraryObject(**row) for row in await cursor.fetchall()]


async def count_objects(conn: Connection, target: str) -> tuple[Amount, Amount]:
    """What the register holds, and what of it is in that store."""
    cursor = await conn.execute(
        "SELECT count(*) AS objects, coalesce(sum(o.size_bytes), 0)::bigint AS size_bytes,"
        " count(c.key) AS copied,"
        " coalesce(sum(o.size_bytes) FILTER (WHERE c.key IS NOT NULL), 0)::bigint AS copied_bytes"
        " FROM storage_objects o LEFT JOIN storage_copies c ON c.key = o.key AND c.target = %s"
        " WHERE o.state = 'present'",
        (target,),
    )
    row = await cursor.fetchone()
    if row is None:
        return Amount(), Amount()
    return Amount(row["objects"], row["size_bytes"]), Amount(row["copied"], row["copied_bytes"])


async def note_copied(conn: Connection, target: str, key: str) -> bool:
    """Say that an object is in that store; False where it was collected meanwhile."""
    cursor = await conn.execute(
        "INSERT INTO storage_copies (target, key) SELECT %s, key FROM storage_objects"
        " WHERE key = %s AND state = 'present'"
        " ON CONFLICT (target, key) DO UPDATE SET copied_at = now()",
        (target, key),
    )
    return cursor.rowcount == 1


async def forget_copy(conn: Connection, target: str, key: str) -> None:
    """Say that an object is not in that store after all."""
    await conn.execute("DELETE FROM storage_copies WHERE target = %s AND key = %s", (target, key))


async def is_in_library(conn: Connection, key: str) -> bool:
    """Whether an object is still in the register, and not the collector's."""
    cursor = await conn.execute(
        "SELECT 1 FROM storage_objects WHERE key = %s AND state = 'present'", (key,)
    )
    return await cursor.fetchone() is not None
