"""Archived projects, as giving up their partition keys needs them.

Belongs here: which are, and keeping one so for the length of a transaction. Does not belong here:
archiving itself (`pipeline.projects.settings`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scene_pipeline.database.imports import EXPECTED_IMPORT
from scene_pipeline.database.rows import OPEN, Connection


@dataclass(frozen=True, slots=True)
class ArchivedProject:
    """A project that is archived, and whether anything of it is still to be finished."""

    key: str
    has_open_generation: bool
    has_open_launch: bool
    has_open_import: bool


async def archived_projects(conn: Connection, keys: Sequence[str]) -> list[ArchivedProject]:
    """Which of these projects are archived, by key."""
    cursor = await conn.execute(
        "SELECT p.key, EXISTS (SELECT 1 FROM generations g"
        f"   WHERE g.project_id = p.id AND g.{OPEN}) AS has_open_generation,"
        " EXISTS (SELECT 1 FROM launches l"
        "   WHERE l.project_id = p.id AND l.closed_at IS NULL) AS has_open_launch,"
        " EXISTS (SELECT 1 FROM asset_imports i"
        f"   WHERE i.project_id = p.id AND i.{EXPECTED_IMPORT}) AS has_open_import"
        " FROM projects p WHERE p.key = ANY(%s) AND p.archived_at IS NOT NULL ORDER BY p.key",
        (list(keys),),
    )
    return [ArchivedProject(**row) for row in await cursor.fetchall()]


async def hold_archived(conn: Connection, key: str) -> bool:
    """Keep an archived project from being taken out of the archive until the transaction ends.

    Returns:
        Whether it is archived.
    """
    cursor = await conn.execute(
        "SELECT 1 FROM projects WHERE key = %s AND archived_at IS NOT NULL FOR SHARE", (key,)
    )
    return await cursor.fetchone() is not None
