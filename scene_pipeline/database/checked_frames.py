"""What the checks of frames are judged by: rows and documents, many scenes in one statement.

Belongs here: questions. Does not belong here: what follows from the answers (`pipeline.checking`),
verdicts (`frame_checks`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class SceneStanding:
    """A scene's current version beside what the document holds at this moment."""

    project_id: UUID
    project_key: str
    scene_id: str
    version: int | None
    """The current version; None where the scene has no frame."""
    url: str | None
    """The current version's address."""
    document_url: str | None
    """What the document's `scene_start_frame` holds, where that is text."""
    is_in_document: bool
    """False for a scene that was removed a moment ago, and whose row is not retired yet."""
    is_prompt_another: bool
    """Whether the document's prompt is not the one that the current version was made from."""
    is_unplanned: bool
    """Whether the document's prompt is newer than what is planned of it."""
    stale_causes: list[str] | None
    """Which parts of the planned content are not those of the current version; None: none."""
    is_chosen: bool
    """Whether a person chose the version for what the document says."""
    problem: str | None = None
    """Why nothing can be made of what the document says of the scene."""


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """What was recorded of a scene's current version, and of the one before it."""

    project_id: UUID
    scene_id: str
    version: int
    url: str
    storage_status: Literal["stored", "external", "removed"]
    sha256: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    wanted_width: int
    """As it was asked for."""
    wanted_height: int
    thumbnail: bytes | None = field(repr=False)
    previous_version: int | None
    """The newest sound version before it; None for the first."""
    previous_sha256: str | None
    previous_thumbnail: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class RefusedPicture:
    """A scene's newest generation, where its picture was blank or could not be decoded."""

    project_id: UUID
    scene_id: str
    version: int | None
    """The scene's current version, which stands."""
    is_blank: bool
    code: str
    """The refusal's code."""
    message: str


_STANDINGS: LiteralString = """
WITH entries AS MATERIALIZED (
    SELECT e.key AS scene_id, e.value AS entry
    FROM projects p, jsonb_each(CASE jsonb_typeof(p.master_json -> 'scenes')
        WHEN 'object' THEN p.master_json -> 'scenes' ELSE '{}' END) AS e
    WHERE p.id = %(project_id)s AND jsonb_typeof(e.value) = 'object'
    UNION ALL
    SELECT e.entry ->> 'id', e.entry
    FROM projects p, jsonb_array_elements(CASE jsonb_typeof(p.master_json -> 'scenes')
        WHEN 'array' THEN p.master_json -> 'scenes' ELSE '[]' END) AS e(entry)
    WHERE p.id = %(project_id)s AND jsonb_typeof(e.entry) = 'object')
SELECT s.project_id, s.project_key, s.scene_id, s.version, s.storage_url AS url,
       CASE jsonb_typeof(e.entry -> 'scene_start_frame') WHEN 'string'
            THEN e.entry ->> 'scene_start_frame' END AS document_url,
       e.entry IS NOT NULL AS is_in_document,
       e.entry ->> 'scene_frame_prompt' IS DISTINCT FROM g.scene_prompt AS is_prompt_another,
       e.entry ->> 'scene_frame_prompt' IS DISTINCT FROM s.scene_prompt AS is_unplanned,
       s.stale_causes, s.is_chosen, s.problem_message AS problem
FROM scene_status s
LEFT JOIN generations g ON g.id = s.current_generation_id
LEFT JOIN entries e ON e.scene_id = s.scene_id
WHERE s.project_id = %(project_id)s
"""
_CHOSEN: LiteralString = " AND s.scene_id = ANY(%(scene_ids)s)"
_IN_ORDER: LiteralString = " ORDER BY s.position, s.scene_id"


async def standings(
    conn: Connection, project_id: UUID, scene_ids: Sequence[str] | None = None
) -> list[SceneStanding]:
    """How scenes stand to their document, in its order; the document is read once.

    Args:
        conn: Any.
        project_id: Whose scenes.
        scene_ids: Which of them; None for all.
    """
    statement = _STANDINGS if scene_ids is None else _STANDINGS + _CHOSEN
    cursor = await conn.execute(
        statement + _IN_ORDER,
        {"project_id": project_id, "scene_ids": None if scene_ids is None else list(scene_ids)},
    )
    return [SceneStanding(**row) for row in await cursor.fetchall()]


async def picture_records(
    conn: Connection, project_id: UUID, scene_ids: Sequence[str]
) -> list[PictureRecord]:
    """What was recorded of the current versions of scenes."""
    cursor = await conn.execute(
        "SELECT i.project_id, i.scene_id, i.version, i.storage_url AS url, i.storage_status,"
        " i.sha256, i.file_size AS size_bytes, i.width, i.height, g.width AS wanted_width,"
        " g.height AS wanted_height, i.thumbnail, b.version AS previous_version,"
        " b.sha256 AS previous_sha256, b.thumbnail AS previous_thumbnail"
        " FROM scene_images i JOIN generations g ON g.id = i.generation_id"
        " LEFT JOIN LATERAL (SELECT o.version, o.sha256, o.thumbnail FROM scene_images o"
        "   WHERE o.project_id = i.project_id AND o.scene_id = i.scene_id"
        "     AND o.version < i.version AND o.rejection IS NULL"
        "   ORDER BY o.version DESC LIMIT 1) b ON true"
        " WHERE i.project_id = %s AND i.scene_id = ANY(%s) AND i.is_current",
        (project_id, list(scene_ids)),
    )
    return [PictureRecord(**row) for row in await cursor.fetchall()]


async def refused_pictures(
    conn: Connection, project_id: UUID, scene_ids: Sequence[str], undecodable: Sequence[str]
) -> list[RefusedPicture]:
    """Scenes whose newest generation gave a picture that can be no frame.

    Args:
        conn: Any.
        project_id: Whose scenes.
        scene_ids: Which of them.
        undecodable: Codes of errors that say so of a picture.
    """
    cursor = await conn.execute(
        "SELECT s.project_id, s.scene_id, i.version, coalesce(l.blank, false) AS is_blank,"
        " l.error_code AS code, coalesce(l.error_message, '') AS message"
        " FROM scenes s"
        " LEFT JOIN scene_images i ON i.project_id = s.project_id AND i.scene_id = s.scene_id"
        "   AND i.is_current"
        " CROSS JOIN LATERAL (SELECT n.error_code, n.error_message, n.state,"
        "     n.state = 'failed' AND n.error_code = 'content_rejected'"
        "       AND n.image -> 'is_blank' = 'true' AS blank"
        "   FROM generations n WHERE n.project_id = s.project_id AND n.scene_id = s.scene_id"
        "   ORDER BY n.seq DESC LIMIT 1) l"
        " WHERE s.project_id = %(project_id)s AND s.scene_id = ANY(%(scene_ids)s)"
        "   AND s.retired_at IS NULL"
        "   AND (l.blank OR (l.state IN ('failed', 'completed')"
        "                    AND l.error_code = ANY(%(undecodable)s)))",
        {
            "project_id": project_id,
            "scene_ids": list(scene_ids),
            "undecodable": list(undecodable),
        },
    )
    return [RefusedPicture(**row) for row in await cursor.fetchall()]
