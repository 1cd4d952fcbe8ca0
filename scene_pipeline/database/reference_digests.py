"""Digests of reference pictures that become known after frames were made.

Belongs here: what that means for rows that are there already. Does not belong here: the pictures
(`references`), deriving scenes (`pipeline.projects.scene_rows`).
"""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import Connection, SceneRow


def _learned(before: LiteralString) -> LiteralString:
    """Whether a content says the same as `n.content`, but for digests that were not known yet."""
    return (
        f"{before} <> n.content"
        f" AND {before} - 'reference_digests' = n.content - 'reference_digests'"
        f" AND coalesce({before} -> 'reference_digests', '{{}}')"
        " <@ (n.content -> 'reference_digests')"
    )


_ADOPT: LiteralString = (
    "WITH n AS (SELECT said.*, s.content AS old_content, s.content_hash AS old_hash"
    "  FROM unnest(%(scene_ids)s::text[], %(contents)s::jsonb[], %(hashes)s::text[])"
    "    AS said (scene_id, content, content_hash)"
    "  JOIN scenes s ON s.project_id = %(project_id)s AND s.scene_id = said.scene_id"
    "  WHERE s.content_hash IS DISTINCT FROM said.content_hash),"
    " chosen AS (UPDATE scenes s SET chosen_content_hash = n.content_hash FROM n"
    "  WHERE s.project_id = %(project_id)s AND s.scene_id = n.scene_id"
    f"  AND s.chosen_content_hash = n.old_hash AND {_learned('n.old_content')})"
    " UPDATE generations g SET content = n.content, content_hash = n.content_hash FROM n"
    "  WHERE g.project_id = %(project_id)s AND g.scene_id = n.scene_id"
    f"  AND {_learned('g.content')}"
)


async def adopt_digests(conn: Connection, project_id: UUID, scenes: Sequence[SceneRow]) -> None:
    """Let what was made before its pictures were looked at count as made from those of today.

    That a digest becomes known is no change of the picture: frames that an earlier version of this
    program made, or that were made with other pictures while a server was down, are not stale for
    it, and what a person chose stays chosen. From then on other bytes are a change.

    Args:
        conn: In the transaction that derives the scenes, before their rows are written.
        project_id: Whose scenes.
        scenes: As they read now.
    """
    known = [scene for scene in scenes if "reference_digests" in scene.content]
    if known:
        await conn.execute(
            _ADOPT,
            {
                "project_id": project_id,
                "scene_ids": [scene.scene_id for scene in known],
                "contents": [Jsonb(dict(scene.content)) for scene in known],
                "hashes": [scene.content_hash for scene in known],
            },
        )
