"""The truth sweep's turns: which current addresses are asked next, and whose turn has passed.

Belongs here: SQL. Does not belong here: verdicts (`frame_checks`), asking
(`pipeline.checking.addresses`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from scene_pipeline.database.frame_checks import take_turn
from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class CurrentAddress:
    """A current version in our store, whose address readers are promised."""

    project_id: UUID
    project_key: str
    scene_id: str
    version: int
    url: str
    sha256: str
    size_bytes: int


async def save_unasked(conn: Connection, addresses: Sequence[CurrentAddress]) -> None:
    """Keep that it was the turn of addresses of which nobody could be asked: it has passed.

    Of one that moved meanwhile, or whose version is not the current one any more, nothing is kept:
    what is there now had no turn.
    """
    if not addresses:
        return
    async with conn.transaction():
        await take_turn(conn, {one.project_id for one in addresses})
        await conn.execute(
            "INSERT INTO unasked_addresses (project_id, scene_id, version)"
            " SELECT t.project_id, t.scene_id, t.version"
            " FROM unnest(%s::uuid[], %s::text[], %s::integer[], %s::text[])"
            "   AS t(project_id, scene_id, version, url)"
            " JOIN scene_images i ON i.project_id = t.project_id AND i.scene_id = t.scene_id"
            "   AND i.is_current AND i.version = t.version AND i.storage_url = t.url"
            " ON CONFLICT (project_id, scene_id) DO UPDATE SET version = excluded.version,"
            " tried_at = excluded.tried_at",
            (
                [one.project_id for one in addresses],
                [one.scene_id for one in addresses],
                [one.version for one in addresses],
                [one.url for one in addresses],
            ),
        )


_CURRENT: LiteralString = """
SELECT i.project_id, p.key AS project_key, i.scene_id, i.version, i.storage_url AS url, i.sha256,
       i.file_size AS size_bytes
FROM scene_images i JOIN projects p ON p.id = i.project_id AND NOT p.is_scratch
LEFT JOIN frame_checks c ON c.project_id = i.project_id AND c.scene_id = i.scene_id
    AND c.name = %(name)s AND c.version = i.version
LEFT JOIN unasked_addresses a ON a.project_id = i.project_id AND a.scene_id = i.scene_id
    AND a.version = i.version
WHERE i.is_current AND i.storage_status = 'stored' AND i.storage_url ~ '^https?://'
"""
"""With what was found last time, and when nobody could be asked. An object in memory has no address
that anybody could ask."""
_OLDEST_FIRST: LiteralString = " ORDER BY greatest(c.checked_at, a.tried_at) NULLS FIRST"


async def due_addresses(conn: Connection, name: str, limit: int) -> list[CurrentAddress]:
    """Addresses to be asked next, of all projects but drills: archived ones have readers too.

    Those that failed last time come first, in at most half of the number, so that a repair shows
    soon; then those whose turn was longest ago, before all others those that never had one. A turn
    counts also where nobody could be asked.

    Args:
        conn: Any.
        name: Of the check whose verdicts say when an address was asked.
        limit: How many.
    """
    values = {"name": name, "failed": limit // 2, "limit": limit}
    cursor = await conn.execute(
        _CURRENT + " AND NOT c.passed" + _OLDEST_FIRST + " LIMIT %(failed)s", values
    )
    due = [CurrentAddress(**row) for row in await cursor.fetchall()]
    cursor = await conn.execute(
        _CURRENT + _OLDEST_FIRST + ", p.key, i.scene_id LIMIT %(limit)s", values
    )
    seen = {(address.project_id, address.scene_id) for address in due}
    for row in await cursor.fetchall():
        if len(due) < limit and (row["project_id"], row["scene_id"]) not in seen:
            due.append(CurrentAddress(**row))
    return due
