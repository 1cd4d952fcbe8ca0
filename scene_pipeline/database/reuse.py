"""Versions that can stand in for a picture that would be paid for.

Belongs here: finding them for a whole project at once, and taking one over into the ledger. Does
not belong here: whether one is taken (`scenes.planning`), going back to a scene's own version
(`promotion`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.events import append_generation_event
from scene_pipeline.database.rows import GENERATION_COLUMNS, Connection, Generation
from scene_pipeline.scenes.planning import ReuseKind


@dataclass(frozen=True, slots=True)
class ReusableVersion:
    """A sound version whose picture a scene can have without paying."""

    kind: ReuseKind
    image_id: UUID
    project_key: str
    """Whose version it is."""
    scene_id: str
    """As `project_key`."""
    version: int


_IS_SOUND: LiteralString = "v.rejection IS NULL AND v.storage_status = 'stored'"

_FIND: LiteralString = f"""
WITH wanting AS (
    SELECT s.scene_id, s.position, s.content_hash, i.id AS current_id
    FROM scenes s
    LEFT JOIN scene_images i ON i.project_id = s.project_id AND i.scene_id = s.scene_id
         AND i.is_current
    LEFT JOIN generations g ON g.id = i.generation_id
    WHERE s.project_id = %(id)s AND s.retired_at IS NULL AND s.problem_code IS NULL
      AND (i.id IS NULL OR (g.content_hash <> s.content_hash AND NOT s.locked
                            AND s.chosen_content_hash IS DISTINCT FROM s.content_hash))
), own AS (
    SELECT DISTINCT ON (w.scene_id) w.scene_id, v.id AS image_id, v.version
    FROM wanting w
    JOIN generations g ON g.project_id = %(id)s AND g.content_hash = w.content_hash
         AND g.scene_id = w.scene_id
    JOIN scene_images v ON v.generation_id = g.id AND v.rejection IS NULL
         AND (v.storage_status = 'stored' OR (v.storage_status = 'external'
              AND coalesce(g.heal_error_code NOT IN ('result_lost', 'bytes_changed'), true)
              AND coalesce(v.external_expires_at > now(), true)))
    ORDER BY w.scene_id, v.version DESC
), newcomers AS (
    SELECT w.scene_id, w.content_hash,
           row_number() OVER (PARTITION BY w.content_hash
               -- A scene that nothing was ever asked for is the likelier one to have been renamed.
               ORDER BY EXISTS (SELECT 1 FROM generations h WHERE h.project_id = %(id)s
                                AND h.scene_id = w.scene_id), w.position, w.scene_id) AS place
    FROM wanting w
    WHERE w.current_id IS NULL AND NOT EXISTS (SELECT 1 FROM own WHERE own.scene_id = w.scene_id)
      AND NOT EXISTS (SELECT 1 FROM generations o WHERE o.project_id = %(id)s
          AND o.scene_id = w.scene_id
          AND o.state NOT IN ('published', 'superseded', 'failed', 'abandoned'))
      AND NOT EXISTS (SELECT 1 FROM regeneration_requests q WHERE q.project_id = %(id)s
          AND q.scene_id = w.scene_id AND q.state = 'pending')
), leavers AS (
    SELECT DISTINCT ON (s.scene_id, g.content_hash) s.scene_id, s.retired_at, g.content_hash,
           v.id AS image_id, v.version, v.storage_path
    FROM scenes s
    JOIN generations g ON g.project_id = s.project_id AND g.scene_id = s.scene_id
    JOIN scene_images v ON v.generation_id = g.id AND {_IS_SOUND}
    WHERE s.project_id = %(id)s AND s.retired_at IS NOT NULL
      AND g.content_hash IN (SELECT content_hash FROM newcomers)
      AND NOT EXISTS (
          SELECT 1 FROM generations taken
          JOIN scene_images given ON given.id = taken.reused_image_id
          WHERE taken.project_id = s.project_id AND taken.reused_image_id IS NOT NULL
            AND given.project_id = s.project_id AND given.scene_id = s.scene_id)
    ORDER BY s.scene_id, g.content_hash, v.is_current DESC, v.version DESC
), pictures AS (
    SELECT DISTINCT ON (storage_path) * FROM leavers ORDER BY storage_path, retired_at DESC
), offered AS (
    SELECT *, row_number() OVER (PARTITION BY content_hash ORDER BY retired_at DESC, scene_id)
           AS place
    FROM pictures l WHERE NOT EXISTS (
        SELECT 1 FROM scene_images u JOIN scenes s ON s.project_id = u.project_id
             AND s.scene_id = u.scene_id AND s.retired_at IS NULL
        WHERE u.storage_path = l.storage_path AND u.project_id = %(id)s)
)
SELECT scene_id AS wanting, 'own' AS kind, image_id, scene_id, version FROM own
UNION ALL
SELECT n.scene_id, 'renamed', o.image_id, o.scene_id, o.version
FROM newcomers n JOIN offered o ON o.content_hash = n.content_hash AND o.place = n.place
"""


async def reusable_versions(
    conn: Connection, project_id: UUID, project_key: str
) -> dict[str, ReusableVersion]:
    """What the scenes of a project that lack a frame of today's content can have, by scene id.

    "own": the newest version that the scene itself has of exactly this content. "renamed": the
    frame of a scene that left the document, with exactly this content. A scene that left gives its
    picture to one other at most, and in the document's order, so that two scenes with equal words
    never share one.
    """
    cursor = await conn.execute(_FIND, {"id": project_id})
    return {
        row.pop("wanting"): ReusableVersion(project_key=project_key, **row)
        for row in await cursor.fetchall()
    }


async def identical_versions(
    conn: Connection, project_id: UUID, request_hashes: Sequence[str]
) -> dict[str, ReusableVersion]:
    """Frames of other projects that exactly these requests made, by the request's hash.

    Args:
        conn: Of the caller.
        project_id: Who asks; a drill's project neither gives nor takes.
        request_hashes: Only of requests whose seed does not depend on the scene.
    """
    cursor = await conn.execute(
        "SELECT DISTINCT ON (g.request_hash) g.request_hash, 'identical' AS kind,"
        " v.id AS image_id, p.key AS project_key, v.scene_id, v.version FROM generations g"
        f" JOIN scene_images v ON v.generation_id = g.id AND {_IS_SOUND}"
        " JOIN projects p ON p.id = g.project_id AND NOT p.is_scratch"
        " WHERE g.request_hash = ANY(%(hashes)s) AND g.project_id <> %(id)s"
        " AND g.image_count = 1 AND g.reused_image_id IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM projects WHERE id = %(id)s AND is_scratch)"
        " ORDER BY g.request_hash, v.generated_at, v.id",
        {"hashes": list(request_hashes), "id": project_id},
    )
    return {row.pop("request_hash"): ReusableVersion(**row) for row in await cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class NewReuse:
    """A generation that costs nothing: another version's picture stands in."""

    project_id: UUID
    scene_id: str
    idempotency_key: str
    token: str
    run_id: str
    scene_prompt: str
    content: Mapping[str, Any]
    content_hash: str
    image_id: UUID
    """The version that is taken over."""
    request_id: str
    """Unique among all: a version that may be taken over once only has one such name."""


_TAKE: LiteralString = f"""
WITH kept AS (
    -- A new period of grace: between now and recording, the object may be without a reference.
    UPDATE storage_objects o SET created_at = now() FROM scene_images v
    WHERE v.id = %(image_id)s AND {_IS_SOUND} AND o.key = v.storage_path
      AND o.state = 'present' AND o.refcount > 0
    RETURNING o.key
)
INSERT INTO generations (project_id, scene_id, idempotency_key, token, run_id, provider, endpoint,
    scene_prompt, prompt, negative_prompt, content, content_hash, request_hash, width, height, seed,
    parameters, state, request_id, result, storage_key, image, thumbnail, cost_micros, cost_kind,
    reused_image_id, completed_at, stored_at)
SELECT %(project_id)s, %(scene_id)s, %(idempotency_key)s, %(token)s, %(run_id)s, g.provider,
    g.endpoint, %(scene_prompt)s, g.prompt, g.negative_prompt, %(content)s, %(content_hash)s,
    g.request_hash, g.width, g.height, g.seed, g.parameters, 'stored', %(request_id)s,
    jsonb_build_object('images', '[]'::jsonb, 'raw', coalesce(v.fal_metadata, '{{}}')),
    v.storage_path, jsonb_build_object('size_bytes', v.file_size, 'content_type', v.content_type,
        'width', v.width, 'height', v.height, 'sha256', v.sha256,
        'source_url', v.original_fal_url, 'is_blank', false, 'is_flagged', false,
        'notes', '[]'::jsonb),
    v.thumbnail, 0, 'free', v.id, now(), now()
FROM scene_images v JOIN generations g ON g.id = v.generation_id
JOIN kept ON kept.key = v.storage_path
WHERE v.id = %(image_id)s
ON CONFLICT DO NOTHING RETURNING {GENERATION_COLUMNS}
"""


async def take_over(conn: Connection, new: NewReuse) -> Generation | None:
    """Write a generation that has its picture already; nothing is paid by it.

    Args:
        conn: In a transaction.
        new: What for, and which picture.

    Returns:
        The row in state `stored`; None where its picture is gone, was taken by another scene, or
        the scene has this row or another open one already.
    """
    values: dict[str, Any] = {name: getattr(new, name) for name in NewReuse.__dataclass_fields__}
    cursor = await conn.execute(_TAKE, {**values, "content": Jsonb(dict(new.content))})
    row = await cursor.fetchone()
    if row is None:
        return None
    generation = Generation(**row)
    await append_generation_event(
        conn, generation, "version_reused", data={"image_id": str(new.image_id)}
    )
    return generation
