"""Where document, rows and objects may disagree: read in pages, and the repairs of rows.

Belongs here: SQL. Does not belong here: what is done about a disagreement
(`pipeline.upkeep.reconcile`).
"""

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection, GenerationState


@dataclass(frozen=True, slots=True)
class VersionPlace:
    """A version and where its picture is said to be."""

    generation_id: UUID
    image_index: int
    generation_state: GenerationState
    project_id: UUID
    scene_id: str
    scene_prompt: str
    version: int
    storage_status: str
    storage_path: str | None
    storage_url: str
    sha256: str
    file_size: int


@dataclass(frozen=True, slots=True)
class ObjectState:
    """A version whose object's row does not say that it is kept."""

    scene_id: str
    version: int
    key: str
    state: str
    refcount: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DocumentScene:
    """What the document says of a scene, as far as its frame is concerned."""

    url: str | None
    prompt: str | None


_PLACE: LiteralString = """
SELECT i.generation_id, i.image_index, g.state AS generation_state, i.project_id, i.scene_id,
       g.scene_prompt, i.version, i.storage_status, i.storage_path, i.storage_url, i.sha256,
       i.file_size
FROM scene_images i JOIN generations g ON g.id = i.generation_id
"""


async def document_scenes(conn: Connection, project_id: UUID) -> dict[str, DocumentScene]:
    """Start frame and prompt of every scene of the document, by scene id.

    One statement reads the document once, however many scenes it has.
    """
    cursor = await conn.execute(
        "SELECT e.key AS scene_id, e.value ->> 'scene_start_frame' AS url,"
        " e.value ->> 'scene_frame_prompt' AS prompt"
        " FROM projects p, jsonb_each(CASE jsonb_typeof(p.master_json -> 'scenes')"
        "   WHEN 'object' THEN p.master_json -> 'scenes' ELSE '{}' END) AS e"
        " WHERE p.id = %(id)s AND jsonb_typeof(e.value) = 'object'"
        " UNION ALL"
        " SELECT e.entry ->> 'id', e.entry ->> 'scene_start_frame',"
        " e.entry ->> 'scene_frame_prompt'"
        " FROM projects p, jsonb_array_elements(CASE jsonb_typeof(p.master_json -> 'scenes')"
        "   WHEN 'array' THEN p.master_json -> 'scenes' ELSE '[]' END) AS e(entry)"
        " WHERE p.id = %(id)s AND jsonb_typeof(e.entry) = 'object'"
        "   AND jsonb_typeof(e.entry -> 'id') = 'string'",
        {"id": project_id},
    )
    return {
        row["scene_id"]: DocumentScene(row["url"], row["prompt"]) for row in await cursor.fetchall()
    }


async def current_places(
    conn: Connection, project_id: UUID, after_scene_id: str, limit: int
) -> list[VersionPlace]:
    """A page of a project's current versions, by scene id."""
    cursor = await conn.execute(
        _PLACE + ' WHERE i.project_id = %s AND i.is_current AND i.scene_id COLLATE "C" > %s'
        ' ORDER BY i.scene_id COLLATE "C" LIMIT %s',
        (project_id, after_scene_id, limit),
    )
    return [VersionPlace(**row) for row in await cursor.fetchall()]


async def unpublished_places(conn: Connection, project_id: UUID, limit: int) -> list[VersionPlace]:
    """Versions that were recorded and not published, oldest first; of candidates the chosen one."""
    cursor = await conn.execute(
        _PLACE + " WHERE i.project_id = %s AND g.state = 'recorded' AND i.version = ("
        "   SELECT version FROM scene_images c WHERE c.generation_id = g.id"
        "   ORDER BY c.is_current DESC, c.rejection IS NOT NULL, c.version LIMIT 1)"
        " ORDER BY g.seq LIMIT %s",
        (project_id, limit),
    )
    return [VersionPlace(**row) for row in await cursor.fetchall()]


async def is_url_of_scene(conn: Connection, project_id: UUID, scene_id: str, url: str) -> bool:
    """Whether a URL is, or was, the address of any version of a scene."""
    cursor = await conn.execute(
        "SELECT 1 FROM scene_images WHERE project_id = %(project)s AND scene_id = %(scene)s"
        " AND (storage_url = %(url)s OR original_fal_url = %(url)s)"
        " UNION ALL SELECT 1 FROM former_addresses"
        " WHERE project_id = %(project)s AND scene_id = %(scene)s AND url = %(url)s LIMIT 1",
        {"project": project_id, "scene": scene_id, "url": url},
    )
    return await cursor.fetchone() is not None


async def was_published(conn: Connection, project_id: UUID, generation_id: UUID) -> bool:
    """Whether a generation's frame was ever written into the document."""
    cursor = await conn.execute(
        "SELECT 1 FROM pipeline_events WHERE project_id = %s AND generation_id = %s"
        " AND kind = 'frame_published' LIMIT 1",
        (project_id, generation_id),
    )
    return await cursor.fetchone() is not None


async def object_states(conn: Connection, project_id: UUID, limit: int) -> list[ObjectState]:
    """Stored versions whose object's row does not count them, or is not marked present."""
    cursor = await conn.execute(
        "SELECT i.scene_id, i.version, o.key, o.state, o.refcount, i.file_size AS size_bytes"
        " FROM scene_images i JOIN storage_objects o ON o.key = i.storage_path"
        " WHERE i.project_id = %s AND i.storage_status = 'stored'"
        " AND (o.state <> 'present' OR o.refcount < "
        "   (SELECT count(*) FROM scene_images x WHERE x.storage_path = o.key))"
        " ORDER BY i.scene_id, i.version LIMIT %s",
        (project_id, limit),
    )
    return [ObjectState(**row) for row in await cursor.fetchall()]


async def keep_object(conn: Connection, key: str) -> bool:
    """Mark an object that a version needs as present and counted.

    Returns:
        False where the collector has marked it, or no version needs it any more.
    """
    cursor = await conn.execute(
        "UPDATE storage_objects SET state = 'present', refcount = greatest(refcount,"
        " (SELECT count(*) FROM scene_images WHERE storage_path = key))"
        " WHERE key = %s AND state IN ('intent', 'present')"
        " AND EXISTS (SELECT 1 FROM scene_images WHERE storage_path = key)",
        (key,),
    )
    return cursor.rowcount == 1


async def made_by(conn: Connection, generation_id: UUID, image_index: int) -> tuple[UUID, int]:
    """The generation whose result names a version's picture, and its place in it.

    A version that stands in for a new picture leads to the one that it was taken over from.
    """
    cursor = await conn.execute(
        "WITH RECURSIVE line AS ("
        " SELECT g.id, %(index)s::integer AS image_index, g.reused_image_id, 0 AS depth"
        "  FROM generations g WHERE g.id = %(id)s"
        " UNION ALL"
        " SELECT g.id, i.image_index, g.reused_image_id, l.depth + 1 FROM line l"
        "  JOIN scene_images i ON i.id = l.reused_image_id"
        "  JOIN generations g ON g.id = i.generation_id)"
        " SELECT id, image_index FROM line ORDER BY depth DESC LIMIT 1",
        {"id": generation_id, "index": image_index},
    )
    row = await cursor.fetchone()
    return (row["id"], row["image_index"]) if row else (generation_id, image_index)


async def is_object_kept(conn: Connection, key: str) -> bool:
    """Whether an object's row says that it is there for good."""
    cursor = await conn.execute(
        "SELECT 1 FROM storage_objects WHERE key = %s AND state = 'present' AND refcount > 0",
        (key,),
    )
    return await cursor.fetchone() is not None
