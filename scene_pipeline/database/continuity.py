"""Continuity groups in rows: who comes before whom, and which pictures a request was settled with.

Belongs here: those questions and the one guarded write. Does not belong here: when a scene may go
on (`pipeline.making.continuity`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.generations import get_generation
from scene_pipeline.database.rows import GENERATION_COLUMNS, OPEN, Connection, Generation

CONTINUITY_BROKEN: Final = "continuity_broken"
"""Code of a scene that waits for the frame of the one before it."""


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """A scene's place in its continuity group."""

    group: str
    position: int
    """In the document."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The usable scene before another one of its group, with its frame and what is under way."""

    scene_id: str
    version: int | None
    """Of its current frame; None where it has none."""
    storage_key: str | None
    sha256: str | None
    content_type: str | None
    open_generation_id: UUID | None
    open_error_code: str | None
    """What the open generation stopped at, where it did."""


async def group_places(
    conn: Connection, project_ids: Collection[UUID]
) -> dict[tuple[UUID, str], GroupPlace]:
    """The places of all scenes of these projects that are in a group, by project and scene."""
    cursor = await conn.execute(
        "SELECT project_id, scene_id, continuity_group, position FROM scenes"
        " WHERE project_id = ANY(%s) AND continuity_group IS NOT NULL AND retired_at IS NULL",
        (list(project_ids),),
    )
    return {
        (row["project_id"], row["scene_id"]): GroupPlace(row["continuity_group"], row["position"])
        for row in await cursor.fetchall()
    }


async def predecessor_of(conn: Connection, project_id: UUID, scene_id: str) -> Predecessor | None:
    """The scene whose frame this one goes on from; None for the first of a group, or without one.

    Scenes that cannot be used or were removed are passed over.
    """
    cursor = await conn.execute(
        "SELECT b.scene_id, i.version, i.storage_path AS storage_key,"
        " i.sha256, i.content_type, o.id AS open_generation_id,"
        " o.error_code AS open_error_code"
        " FROM scenes s JOIN scenes b ON b.project_id = s.project_id"
        "  AND b.continuity_group = s.continuity_group AND b.position < s.position"
        "  AND b.retired_at IS NULL AND b.problem_code IS NULL"
        " LEFT JOIN scene_images i ON i.project_id = b.project_id AND i.scene_id = b.scene_id"
        "  AND i.is_current"
        " LEFT JOIN (SELECT id, project_id, scene_id, error_code FROM generations"
        f"  WHERE {OPEN}) o ON o.project_id = b.project_id AND o.scene_id = b.scene_id"
        " WHERE s.project_id = %s AND s.scene_id = %s ORDER BY b.position DESC LIMIT 1",
        (project_id, scene_id),
    )
    row = await cursor.fetchone()
    return Predecessor(**row) if row else None


async def wake_followers(conn: Connection, recorded: Generation) -> None:
    """Make what waits in a group due, in the transaction that records a frame it can go on from."""
    await conn.execute(
        "UPDATE generations g SET take_up_at = now(), take_up_attempts = 0"
        " FROM scenes s JOIN scenes f ON f.project_id = s.project_id"
        "  AND f.continuity_group = s.continuity_group AND f.position > s.position"
        " WHERE s.project_id = %s AND s.scene_id = %s AND g.project_id = f.project_id"
        " AND g.scene_id = f.scene_id AND g.state = 'planned' AND g.error_code = %s",
        (recorded.project_id, recorded.scene_id, CONTINUITY_BROKEN),
    )


async def are_present(conn: Connection, keys: Sequence[str]) -> bool:
    """Whether all of these objects are in the store, as far as its register knows."""
    cursor = await conn.execute(
        "SELECT count(*) AS n FROM storage_objects WHERE key = ANY(%s) AND state = 'present'",
        (list(keys),),
    )
    row = await cursor.fetchone()
    return row is not None and int(row["n"]) == len(set(keys))


async def has_pictures(conn: Connection, project_id: UUID, of: Sequence[tuple[str, int]]) -> bool:
    """Whether each of these versions, by scene and number, still has its picture somewhere."""
    cursor = await conn.execute(
        "SELECT count(*) AS n FROM scene_images i"
        " JOIN unnest(%s::text[], %s::integer[]) AS o (scene_id, version)"
        "  ON i.scene_id = o.scene_id AND i.version = o.version"
        " WHERE i.project_id = %s AND i.storage_status <> 'removed'",
        ([scene_id for scene_id, _ in of], [version for _, version in of], project_id),
    )
    row = await cursor.fetchone()
    return row is not None and int(row["n"]) == len(of)


async def picture_address(
    conn: Connection, project_id: UUID, scene_id: str, version: int
) -> tuple[str | None, str | None]:
    """Where a version that had no object of ours is now: its key, once healed, and its address."""
    cursor = await conn.execute(
        "SELECT storage_path, storage_url FROM scene_images WHERE project_id = %s"
        " AND scene_id = %s AND version = %s AND storage_status <> 'removed'",
        (project_id, scene_id, version),
    )
    row = await cursor.fetchone()
    return (row["storage_path"], row["storage_url"]) if row else (None, None)


async def settle_references(
    conn: Connection,
    generation: Generation,
    references: Sequence[Mapping[str, Any]],
    request_hash: str,
) -> Generation:
    """Commit what will be sent along, while nothing is sent yet; what is committed first holds.

    Args:
        conn: Of the caller, who holds the generation's lock.
        generation: In state `planned`, as the caller knows it.
        references: One object per picture: scene_id, version, sha256, storage_key, content_type.
        request_hash: Of the request with these pictures.

    Returns:
        The row as it is now.
    """
    cursor = await conn.execute(
        "UPDATE generations SET reference_images = %s, request_hash = %s, updated_at = now()"
        " WHERE id = %s AND state = 'planned' AND reference_images = %s"
        f" RETURNING {GENERATION_COLUMNS}",
        (
            Jsonb([dict(reference) for reference in references]),
            request_hash,
            generation.id,
            Jsonb([dict(reference) for reference in generation.reference_images]),
        ),
    )
    row = await cursor.fetchone()
    return Generation(**row) if row else await get_generation(conn, generation.id)
