"""Scenes whose frame may be another one than people are shown, until that is known to be told.

Belongs here: SQL. Does not belong here: noticing it (triggers of the schema do, whoever writes),
and telling it (`defs.changed_frames`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.rows import OPEN, Connection


@dataclass(frozen=True, slots=True)
class UntoldFrame:
    """A scene whose frame, its address, or whose place in the document is another since."""

    scene_id: str
    changed_at: datetime
    """When it changed last."""
    is_in_document: bool
    """Whether the scene is; no frame of one that is not goes to video."""
    generation_id: UUID | None
    """Of its current version; None where it has none, as for the next two."""
    version: int | None
    url: str | None
    is_made: bool
    """Whether a run made that version, which tells of it unless it is killed before."""
    is_published: bool
    """Whether the document had it once."""
    is_open: bool
    """Whether it is still to be written into the document."""


@dataclass(frozen=True, slots=True)
class UnnotedFrame:
    """A scene whose frame counts as told."""

    scene_id: str
    is_published: bool
    """Whether the document had its current version once."""


async def unnoted_frames(
    conn: Connection, project_id: UUID, *, after: str, limit: int
) -> list[UnnotedFrame]:
    """The next scenes of a document with a frame that nothing is noted of, by their ids.

    Args:
        conn: Any.
        project_id: Whose scenes.
        after: The scene id that the page before ended with; "" for the first page.
        limit: How many.
    """
    cursor = await conn.execute(
        "SELECT i.scene_id, coalesce(g.state = 'published', false) AS is_published"
        " FROM scene_images i JOIN generations g ON g.id = i.generation_id"
        " JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id"
        " WHERE i.project_id = %s AND i.is_current AND s.retired_at IS NULL AND i.scene_id > %s"
        "   AND NOT EXISTS (SELECT 1 FROM untold_frames u WHERE u.project_id = i.project_id"
        "     AND u.scene_id = i.scene_id)"
        " ORDER BY i.scene_id LIMIT %s",
        (project_id, after, limit),
    )
    return [UnnotedFrame(**row) for row in await cursor.fetchall()]


async def note_frames(conn: Connection, project_id: UUID, scene_ids: Sequence[str]) -> None:
    """Note scenes as if a run had just made their current version; what is noted stays.

    Args:
        conn: Not inside a transaction; this is one.
        project_id: Whose scenes.
        scene_ids: Which of them.
    """
    async with conn.transaction():
        # Before the notes, in the order of whoever moves addresses.
        await hold_project(conn, project_id)
        await conn.execute(
            "INSERT INTO untold_frames (project_id, scene_id, made_version)"
            " SELECT project_id, scene_id, version FROM scene_images"
            " WHERE project_id = %s AND scene_id = ANY(%s) AND is_current"
            " ON CONFLICT DO NOTHING",
            (project_id, list(scene_ids)),
        )


async def untold_frames(
    conn: Connection, project_id: UUID, *, after: str, limit: int
) -> list[UntoldFrame]:
    """The next scenes of a project that are to be told, by their ids.

    Args:
        conn: Any.
        project_id: Whose scenes.
        after: The scene id that the page before ended with; "" for the first page.
        limit: How many.
    """
    cursor = await conn.execute(
        "SELECT u.scene_id, u.changed_at, i.generation_id, s.retired_at IS NULL AS is_in_document,"
        "  i.version, i.storage_url AS url,"
        "  coalesce(u.made_version = i.version, false) AS is_made,"
        "  coalesce(g.state = 'published', false) AS is_published,"
        f" coalesce(g.{OPEN}, false) AS is_open"
        " FROM untold_frames u"
        " JOIN scenes s ON s.project_id = u.project_id AND s.scene_id = u.scene_id"
        " LEFT JOIN scene_images i ON i.project_id = u.project_id AND i.scene_id = u.scene_id"
        "   AND i.is_current"
        " LEFT JOIN generations g ON g.id = i.generation_id"
        " WHERE u.project_id = %s AND u.scene_id > %s ORDER BY u.scene_id LIMIT %s",
        (project_id, after, limit),
    )
    return [UntoldFrame(**row) for row in await cursor.fetchall()]


async def forget_told(conn: Connection, project_id: UUID, told: Sequence[UntoldFrame]) -> None:
    """Say that scenes were told as they stood; what changed since, or changes now, stays.

    A new version is a change, too: what was told of the one before it may lie over what its run
    told, and the next look sets that right.
    """
    await conn.execute(
        "DELETE FROM untold_frames WHERE (project_id, scene_id) IN ("
        "  SELECT u.project_id, u.scene_id FROM untold_frames u"
        "  JOIN unnest(%s::text[], %s::timestamptz[]) AS t(scene_id, changed_at)"
        "    ON t.scene_id = u.scene_id AND t.changed_at = u.changed_at"
        # Whoever holds one is changing it again.
        "  WHERE u.project_id = %s FOR UPDATE OF u SKIP LOCKED)",
        ([one.scene_id for one in told], [one.changed_at for one in told], project_id),
    )
