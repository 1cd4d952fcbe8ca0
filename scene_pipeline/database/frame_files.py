"""Which version a picture's file is: by the generation that it names, or by its very bytes.

Belongs here: SQL. Does not belong here: what a file says of itself (`media.metadata`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection

_SELECT: LiteralString = (
    "SELECT i.id, p.key AS project_key, i.scene_id, i.version, i.is_current, i.storage_url,"
    " i.storage_status, i.sha256 = %(sha256)s AS is_same_bytes, i.rejection, i.generated_at,"
    " i.generation_id, g.provider, g.endpoint, g.seed, g.cost_micros, g.cost_kind,"
    " g.image_count FROM scene_images i JOIN generations g ON g.id = i.generation_id"
    " JOIN projects p ON p.id = i.project_id"
)


@dataclass(frozen=True, slots=True)
class FrameOfFile:
    """A version of a scene's frame that a file is, or was made from."""

    id: UUID
    project_key: str
    scene_id: str
    version: int
    is_current: bool
    storage_url: str
    storage_status: Literal["stored", "external", "removed"]
    is_same_bytes: bool
    """Whether the file is what is stored, byte by byte, and not another form of it."""
    rejection: str | None
    generated_at: datetime
    generation_id: UUID
    provider: str
    endpoint: str
    seed: int
    cost_micros: int | None
    """Of the whole generation."""
    cost_kind: Literal["estimated", "metered", "free"] | None
    image_count: int
    """How many pictures the generation made."""


async def frame_of_generation(
    conn: Connection, generation_id: UUID, *, sha256: str, image_index: int
) -> FrameOfFile | None:
    """The version that a generation made: of several the one with these bytes, else of this place.

    Returns:
        None where this database does not know the generation, or it has no version yet.
    """
    cursor = await conn.execute(
        f"{_SELECT} WHERE i.generation_id = %(generation)s"
        " ORDER BY i.sha256 = %(sha256)s DESC, i.image_index = %(index)s DESC, i.version LIMIT 1",
        {"generation": generation_id, "sha256": sha256, "index": image_index},
    )
    row = await cursor.fetchone()
    return FrameOfFile(**row) if row else None


async def frame_with_bytes(conn: Connection, sha256: str) -> FrameOfFile | None:
    """A version that is stored with these very bytes, the current one first; None without any."""
    cursor = await conn.execute(
        f"{_SELECT} JOIN storage_objects o ON o.key = i.storage_path"
        " WHERE o.sha256 = %(sha256)s AND o.state = 'present' AND NOT p.is_scratch"
        " ORDER BY i.is_current DESC, i.generated_at DESC LIMIT 1",
        {"sha256": sha256},
    )
    row = await cursor.fetchone()
    return FrameOfFile(**row) if row else None
