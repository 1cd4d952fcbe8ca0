"""Which version of a scene is the current one, and whether it may change: switching and locking.

Belongs here: SQL under the lock of the scene's head row, which recording takes too. Does not belong
here: whether a version may be chosen (`pipeline.projects.promotion`), recording new ones
(`recording`).

Order of locks: the project's row, then heads by scene id, then scenes. Recording waits for no
project's row that is merely being updated, so that the two never wait for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database.heal_times import LOST_CODES
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Seat:
    """A scene's frame as it stands while its head row is held: nobody records or switches."""

    version: int | None
    """The current version."""
    content_hash: str | None
    """Of the current version."""
    is_locked: bool
    is_retired: bool
    problem_message: str | None
    """Why the document's entry cannot be used."""
    wanted_hash: str | None
    """Of what the document says now."""
    chosen_hash: str | None
    """Of what the document said when a person chose the version."""
    open_state: str | None
    """State of the scene's unfinished generation."""


async def take_seat(conn: Connection, project_id: UUID, scene_id: str) -> Seat | None:
    """Hold a scene's head until the transaction ends, and look; None where there is no such scene.

    Args:
        conn: In a transaction.
        project_id: The project's row.
        scene_id: As the document spells it.
    """
    await hold_heads(conn, project_id, [scene_id])
    cursor = await conn.execute(
        "SELECT i.version, g.content_hash, s.locked AS is_locked,"
        " s.retired_at IS NOT NULL AS is_retired, s.problem_message,"
        " s.content_hash AS wanted_hash, s.chosen_content_hash AS chosen_hash,"
        " (SELECT o.state FROM generations o WHERE o.project_id = s.project_id"
        "    AND o.scene_id = s.scene_id"
        "    AND o.state NOT IN ('published', 'superseded', 'failed', 'abandoned')) AS open_state"
        " FROM scenes s LEFT JOIN scene_images i ON i.project_id = s.project_id"
        "   AND i.scene_id = s.scene_id AND i.is_current"
        " LEFT JOIN generations g ON g.id = i.generation_id"
        " WHERE s.project_id = %s AND s.scene_id = %s FOR NO KEY UPDATE OF s",
        (project_id, scene_id),
    )
    row = await cursor.fetchone()
    return Seat(**row) if row else None


async def promote_version(conn: Connection, project_id: UUID, scene_id: str, version: int) -> None:
    """Make an existing sound version the current one; the scene's head row is the lock.

    What was chosen by hand before is forgotten: the choice was another version's.

    Raises:
        LedgerError: There is no such version, it was rejected, or its picture was removed.
    """
    async with conn.transaction():
        await hold_heads(conn, project_id, [scene_id])
        await conn.execute(
            "UPDATE scene_images SET is_current = false"
            " WHERE project_id = %s AND scene_id = %s AND is_current",
            (project_id, scene_id),
        )
        cursor = await conn.execute(
            "UPDATE scene_images SET is_current = true WHERE project_id = %s AND scene_id = %s"
            " AND version = %s AND rejection IS NULL"
            " AND storage_status IN ('stored', 'external')",
            (project_id, scene_id, version),
        )
        if cursor.rowcount != 1:
            message = f"Version {version} of scene {scene_id} cannot be promoted."
            raise LedgerError(message, code="version_not_promotable")
        await forget_choice(conn, project_id, scene_id)


async def keep_choice(conn: Connection, project_id: UUID, scene_id: str) -> None:
    """Say that a person chose the current version for what the document says now."""
    await conn.execute(
        "UPDATE scenes SET chosen_content_hash = content_hash"
        " WHERE project_id = %s AND scene_id = %s",
        (project_id, scene_id),
    )


async def forget_choice(conn: Connection, project_id: UUID, scene_id: str) -> None:
    """Say that nobody chose what is current by hand."""
    await conn.execute(
        "UPDATE scenes SET chosen_content_hash = NULL WHERE project_id = %s AND scene_id = %s"
        " AND chosen_content_hash IS NOT NULL",
        (project_id, scene_id),
    )


@dataclass(frozen=True, slots=True)
class SceneLock:
    """A scene of the document and whether its frame may be replaced."""

    scene_id: str
    is_locked: bool
    has_frame: bool


async def scene_locks(conn: Connection, project_id: UUID) -> list[SceneLock]:
    """Every scene of the document, in its order."""
    cursor = await conn.execute(
        "SELECT s.scene_id, s.locked AS is_locked, i.id IS NOT NULL AS has_frame FROM scenes s"
        " LEFT JOIN scene_images i ON i.project_id = s.project_id AND i.scene_id = s.scene_id"
        "   AND i.is_current"
        " WHERE s.project_id = %s AND s.retired_at IS NULL ORDER BY s.position, s.scene_id",
        (project_id,),
    )
    return [SceneLock(**row) for row in await cursor.fetchall()]


async def set_locked(
    conn: Connection, project_id: UUID, scene_ids: Sequence[str], *, is_locked: bool
) -> frozenset[str]:
    """Lock or unlock scenes; unlocked ones become due, since they may have waited for it.

    The heads are held first: a version that is being recorded at this instant comes before the
    lock, and none after it becomes current.

    Args:
        conn: In a transaction.
        project_id: The project's row.
        scene_ids: Which scenes.
        is_locked: What they are to be.

    Returns:
        The scenes that were not so already.
    """
    await hold_heads(conn, project_id, scene_ids)
    cursor = await conn.execute(
        "UPDATE scenes SET locked = %(locked)s,"
        " wanted_at = CASE WHEN %(locked)s THEN wanted_at ELSE now() END,"
        " want_attempts = CASE WHEN %(locked)s THEN want_attempts ELSE 0 END"
        " WHERE project_id = %(id)s AND scene_id = ANY(%(scenes)s) AND locked <> %(locked)s"
        " RETURNING scene_id",
        {"locked": is_locked, "id": project_id, "scenes": list(scene_ids)},
    )
    return frozenset([row["scene_id"] for row in await cursor.fetchall()])


async def is_gone(conn: Connection, image_id: UUID) -> bool:
    """Whether a version's picture is not to be had: removed, or lost at its provider."""
    cursor = await conn.execute(
        "SELECT 1 FROM scene_images i JOIN generations g ON g.id = i.generation_id"
        " WHERE i.id = %s AND (i.storage_status = 'removed' OR (i.storage_status = 'external'"
        "  AND (i.external_expires_at <= now() OR g.heal_error_code = ANY(%s))))",
        (image_id, list(LOST_CODES)),
    )
    return await cursor.fetchone() is not None


async def hold_heads(
    conn: Connection, project_id: UUID, scene_ids: Sequence[str] | None = None
) -> None:
    """Keep everybody from recording or switching versions until the transaction ends.

    Args:
        conn: In a transaction.
        project_id: The project's row.
        scene_ids: Of which scenes; None for all.
    """
    await conn.execute(
        "SELECT 1 FROM scene_heads WHERE project_id = %(id)s"
        " AND (%(scenes)s::text[] IS NULL OR scene_id = ANY(%(scenes)s))"
        " ORDER BY scene_id FOR UPDATE",
        {"id": project_id, "scenes": None if scene_ids is None else list(scene_ids)},
    )
