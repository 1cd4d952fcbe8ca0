"""Versions that are old enough to be given up: found, and turned into tombstones.

A version is kept while anything needs it: it is current, its scene is locked, a document names its
object, an unfinished generation refers to it, or it is among the newest or the youngest. All of it
is asked again, under locks, in the transaction that gives it up; its object loses one reference and
is the collector's from then on.

Belongs here: SQL. Does not belong here: in which order, how much, and the report
(`pipeline.upkeep.retain`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from scene_pipeline.database.collection import Amount
from scene_pipeline.database.rows import OPEN, Connection

_KEY_IN_DOCUMENT = r"projects/[0-9a-f-]{36}/scenes/[A-Za-z0-9_-]+\.[a-z]+"
"""How the key of a frame stands within any URL: whatever comes before it may have changed."""


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What is kept of each scene although nothing needs it."""

    keep_versions: int
    """The newest versions of each scene."""
    keep_days: float
    """Everything younger than this."""


@dataclass(frozen=True, slots=True)
class OldVersion:
    """A version that nothing needs and no rule keeps."""

    id: UUID
    project_id: UUID
    storage_path: str
    file_size: int


_OLD: LiteralString = f"""
WITH ranked AS (
    SELECT i.id, i.project_id, i.scene_id, i.version, i.storage_status, i.storage_path,
           i.file_size, i.is_current, i.generated_at, i.generation_id, row_number() OVER (
        PARTITION BY i.project_id, i.scene_id ORDER BY i.version DESC) AS place
    FROM scene_images i WHERE i.project_id = ANY(%(projects)s)),
old AS MATERIALIZED (
    SELECT i.id, i.project_id, i.storage_path, i.file_size, i.scene_id, i.version
    FROM ranked i
    JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id
    JOIN generations g ON g.id = i.generation_id
    WHERE i.storage_status = 'stored' AND NOT i.is_current AND NOT s.locked
      AND i.place > %(keep_versions)s
      AND i.generated_at < now() - make_interval(secs => %(keep_seconds)s)
      AND NOT g.{OPEN}
      AND NOT EXISTS (SELECT 1 FROM generations o WHERE o.{OPEN} AND (
          o.reused_image_id = i.id OR o.reference_images @> jsonb_build_array(
              jsonb_build_object('storage_key', i.storage_path))))),
documents AS MATERIALIZED (
    SELECT p.id, p.master_json::text AS body FROM projects p
    WHERE p.id IN (SELECT o.project_id FROM old o)),
due AS (
    SELECT o.* FROM old o JOIN documents d ON d.id = o.project_id
    WHERE position(o.storage_path IN d.body) = 0)
"""


async def projects_page(conn: Connection, after: UUID | None, limit: int) -> list[UUID]:
    """Projects that are no drill's, in the order of their ids: retention goes through all."""
    cursor = await conn.execute(
        "SELECT id FROM projects WHERE NOT is_scratch"
        " AND (%(after)s::uuid IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def keys_named_elsewhere(conn: Connection, project_ids: Sequence[UUID]) -> set[str]:
    """Keys of frames that these projects' documents name and that are other projects' own."""
    cursor = await conn.execute(
        "SELECT DISTINCT m[1] AS key FROM projects p,"
        " regexp_matches(p.master_json::text, %(pattern)s, 'g') AS m"
        " WHERE p.id = ANY(%(projects)s) AND split_part(m[1], '/', 2) <> p.id::text",
        {"pattern": f"({_KEY_IN_DOCUMENT})", "projects": list(project_ids)},
    )
    return {row["key"] for row in await cursor.fetchall()}


async def old_versions(
    conn: Connection, project_ids: Sequence[UUID], rule: RetentionRule
) -> list[OldVersion]:
    """What could be given up of these projects' versions, as far as their own documents say.

    Args:
        conn: Of the caller.
        project_ids: The projects to look at.
        rule: What is kept in any case.

    Returns:
        By project, oldest first.
    """
    cursor = await conn.execute(
        _OLD + "SELECT id, project_id, storage_path, file_size FROM due"
        " ORDER BY project_id, scene_id, version",
        _values(project_ids, rule),
    )
    return [OldVersion(**row) for row in await cursor.fetchall()]


async def give_up(
    conn: Connection, project_id: UUID, versions: Sequence[OldVersion], rule: RetentionRule
) -> Amount:
    """Turn versions of one project into tombstones, as far as nothing needs them now either.

    A version whose object is counted lower than it is referred to is left for `reconcile`.

    Args:
        conn: Not inside a transaction; this is one.
        project_id: The project of all of them.
        versions: As `old_versions` found them.
        rule: What is kept in any case.

    Returns:
        What was given up. The objects get a new period of grace before they are collected.
    """
    values = _values([project_id], rule)
    values["ids"] = [version.id for version in versions]
    keys = sorted({version.storage_path for version in versions})
    async with conn.transaction():
        await conn.execute("SELECT set_config('scene_pipeline.retention', 'on', true)")
        # No edit of the document, and no new reference to an object, can come between the questions
        # of the next statement and what it does: both wait for these rows.
        await conn.execute("SELECT 1 FROM projects WHERE id = %s FOR SHARE", (project_id,))
        await conn.execute(
            "SELECT 1 FROM storage_objects WHERE key = ANY(%s) ORDER BY key FOR UPDATE", (keys,)
        )
        cursor = await conn.execute(
            f"{_OLD}, removed AS ("
            "  UPDATE scene_images i SET storage_status = 'removed', removed_at = now(),"
            "    storage_path = NULL"
            "  FROM due d JOIN storage_objects o ON o.key = d.storage_path"
            "  WHERE i.id = d.id AND i.id = ANY(%(ids)s) AND o.state = 'present'"
            "    AND o.refcount >= (SELECT count(*) FROM scene_images x"
            "                       WHERE x.storage_path = o.key)"
            # Asked of the row as it is once it is locked: a promotion may have been quicker.
            "    AND NOT i.is_current AND i.storage_status = 'stored'"
            "  RETURNING i.project_id, i.scene_id, i.version, i.generation_id, i.file_size,"
            "    d.storage_path),"
            " released AS (UPDATE storage_objects o SET refcount = o.refcount - c.n,"
            "    created_at = now()"
            "  FROM (SELECT storage_path, count(*) AS n FROM removed GROUP BY storage_path) c"
            "  WHERE o.key = c.storage_path),"
            " told AS (INSERT INTO pipeline_events"
            "    (kind, project_id, scene_id, generation_id, data)"
            "  SELECT 'version_removed', project_id, scene_id, generation_id,"
            "    jsonb_build_object('version', version) FROM removed)"
            " SELECT count(*) AS objects, coalesce(sum(file_size), 0)::bigint AS size_bytes"
            " FROM removed",
            values,
        )
        row = await cursor.fetchone()
    return Amount(**row) if row else Amount()


def _values(project_ids: Sequence[UUID], rule: RetentionRule) -> dict[str, Any]:
    return {
        "projects": list(project_ids),
        "keep_versions": rule.keep_versions,
        "keep_seconds": rule.keep_days * 86_400,
    }
