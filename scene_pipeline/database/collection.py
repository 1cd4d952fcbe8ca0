"""Garbage: objects that nothing refers to, marked first and removed afterwards.

The mark is a compare-and-set on the object's own row. A new reference changes the same row, so one
of the two waits for the other and then sees what it did: a marked object takes no reference, and a
referenced one takes no mark. (Asking `NOT EXISTS (a row that refers to it)` instead marked a live
object when raced: the answer is as old as the statement's snapshot.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, LiteralString

from scene_pipeline.database.imports import EXPECTED_IMPORT
from scene_pipeline.database.rows import Connection

_LEFTOVER: LiteralString = (
    "o.refcount = 0 AND o.state IN ('intent', 'present') AND o.created_at < now() - %(grace)s"
    # A paid picture that waits to be recorded; asked besides, since it has no reference yet.
    " AND NOT EXISTS (SELECT 1 FROM generations g"
    "     WHERE g.storage_key = o.key AND g.state = 'stored')"
    " AND NOT EXISTS (SELECT 1 FROM generation_images c"
    "     JOIN generations g ON g.id = c.generation_id"
    "     WHERE c.storage_key = o.key AND g.state IN ('completed', 'stored'))"
)


_IN_ORDER: LiteralString = 'ORDER BY o.key COLLATE "C" FOR UPDATE'
"""Whoever tries one key after the other, the shorter first (`pipeline.keeping.frame_keys`), holds
the one while it waits for the next: in any other order the two could wait for each other."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object to remove."""

    key: str
    size_bytes: int
    """As announced before the upload; 0 where nothing was."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of something there is."""

    objects: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        """Both together."""
        return Amount(self.objects + other.objects, self.size_bytes + other.size_bytes)


async def count_leftovers(conn: Connection, grace: timedelta) -> tuple[Amount, Amount]:
    """What would be marked now, and what is marked already and waits to be removed."""
    cursor = await conn.execute(
        "SELECT count(*) AS objects, coalesce(sum(size_bytes), 0)::bigint AS size_bytes"
        f" FROM storage_objects o WHERE {_LEFTOVER}",
        {"grace": grace},
    )
    due = await cursor.fetchone()
    cursor = await conn.execute(
        "SELECT count(*) AS objects, coalesce(sum(size_bytes), 0)::bigint AS size_bytes"
        " FROM storage_objects WHERE state = 'deleting'"
    )
    marked = await cursor.fetchone()
    return Amount(**due) if due else Amount(), Amount(**marked) if marked else Amount()


async def mark_leftovers(conn: Connection, grace: timedelta, limit: int) -> Amount:
    """Mark the oldest leftovers: from then on nothing can refer to them.

    Returns:
        What was marked; fewer than `limit` objects when there are no more.
    """
    cursor = await conn.execute(
        "WITH oldest AS (SELECT o.key FROM storage_objects o"
        f"  WHERE {_LEFTOVER} ORDER BY o.created_at LIMIT %(limit)s),"
        " locked AS MATERIALIZED (SELECT o.key FROM storage_objects o"
        f"  WHERE o.key IN (SELECT key FROM oldest) {_IN_ORDER}),"
        " marked AS (UPDATE storage_objects o SET state = 'deleting'"
        "  WHERE o.key IN (SELECT key FROM locked)"
        # Asked again of the row as it is once it is locked.
        f" AND {_LEFTOVER} RETURNING o.size_bytes)"
        " SELECT count(*) AS objects, coalesce(sum(size_bytes), 0)::bigint AS size_bytes"
        " FROM marked",
        {"grace": grace, "limit": limit},
    )
    row = await cursor.fetchone()
    return Amount(**row) if row else Amount()


async def marked_leftovers(conn: Connection, after_key: str, limit: int) -> list[Leftover]:
    """Marked objects in the order of their keys: this call's, and what a crash left marked."""
    cursor = await conn.execute(
        "SELECT key, coalesce(size_bytes, 0) AS size_bytes FROM storage_objects"
        " WHERE state = 'deleting' AND refcount = 0 AND key > %s ORDER BY key LIMIT %s",
        (after_key, limit),
    )
    return [Leftover(**row) for row in await cursor.fetchall()]


async def mark_deleted(conn: Connection, keys: Sequence[str]) -> None:
    """Say that the bytes of marked objects are gone; the rows stay, so that keys stay used up."""
    await conn.execute(
        "WITH locked AS MATERIALIZED (SELECT o.key FROM storage_objects o"
        f"  WHERE o.key = ANY(%s) {_IN_ORDER})"
        " UPDATE storage_objects SET state = 'deleted'"
        " WHERE key IN (SELECT key FROM locked) AND state = 'deleting'",
        (list(keys),),
    )


async def registered_states(conn: Connection, keys: Sequence[str]) -> dict[str, str]:
    """The state of each key that has a row."""
    cursor = await conn.execute(
        "SELECT key, state FROM storage_objects WHERE key = ANY(%s)", (list(keys),)
    )
    return {row["key"]: row["state"] for row in await cursor.fetchall()}


async def awaited_uploads(conn: Connection, keys: Sequence[str]) -> set[str]:
    """Which of these arrive, or wait to be looked at, for an import that is not over."""
    cursor = await conn.execute(
        f"SELECT upload_key FROM asset_imports WHERE upload_key = ANY(%s) AND {EXPECTED_IMPORT}",
        (list(keys),),
    )
    return {row["upload_key"] for row in await cursor.fetchall()}


async def adopt_for_deletion(conn: Connection, key: str, size_bytes: int) -> bool:
    """Register an object that no row knows as marked; False where somebody registers it just now.

    From the commit on, nobody else can begin to use the key.
    """
    cursor = await conn.execute(
        "INSERT INTO storage_objects (key, state, size_bytes) VALUES (%s, 'deleting', %s)"
        " ON CONFLICT (key) DO NOTHING",
        (key, size_bytes or None),
    )
    return cursor.rowcount == 1


async def return_to_marked(conn: Connection, key: str) -> bool:
    """Mark a removed object again whose bytes arrived after all (an upload that was paused)."""
    cursor = await conn.execute(
        "UPDATE storage_objects SET state = 'deleting' WHERE key = %s AND state = 'deleted'",
        (key,),
    )
    return cursor.rowcount == 1


RenewedTable = Literal["storyboards", "report_files"]
"""Tables of what is made anew whenever what it shows changes."""
_SERIES: dict[RenewedTable, LiteralString] = {
    "storyboards": "project_id",
    "report_files": "project_id, kind",
}


def _old(table: RenewedTable) -> LiteralString:
    """Rows beyond the newest `kept` of each series; those over all projects are one project's."""
    return (
        "SELECT id FROM (SELECT id, row_number() OVER ("
        f"  PARTITION BY {_SERIES[table]} ORDER BY id DESC) AS n FROM {table}"
        ") s WHERE n > %(kept)s"
    )


async def count_outdated(conn: Connection, table: RenewedTable, kept: int) -> Amount:
    """What lies beyond the newest `kept` of each project, and of each kind."""
    cursor = await conn.execute(
        "SELECT count(*) AS objects, coalesce(sum(b.file_size), 0)::bigint AS size_bytes"
        f" FROM {table} b WHERE b.id IN ({_old(table)})",
        {"kept": kept},
    )
    row = await cursor.fetchone()
    return Amount(**row) if row else Amount()


async def release_outdated(conn: Connection, table: RenewedTable, kept: int, limit: int) -> int:
    """Forget what lies beyond the newest `kept` of each project and kind, and its references.

    Returns:
        How many were forgotten; fewer than `limit` when there are no more.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            f"WITH gone AS (DELETE FROM {table} WHERE id IN ("
            f"    SELECT id FROM ({_old(table)}) old ORDER BY id LIMIT %(limit)s)"
            "   RETURNING storage_path),"
            " counted AS (SELECT storage_path, count(*) AS n FROM gone GROUP BY storage_path),"
            " released AS (UPDATE storage_objects o SET refcount = o.refcount - c.n"
            "   FROM counted c WHERE o.key = c.storage_path)"
            " SELECT count(*) AS n FROM gone",
            {"kept": kept, "limit": limit},
        )
        row = await cursor.fetchone()
    return int(row["n"]) if row else 0
