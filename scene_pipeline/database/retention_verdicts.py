"""What keeps a version, in SQL.

A version is kept while anything needs it: it is current, its scene is locked, it is among the
newest or the youngest, or it is referred to: its project's document names its object, another form
of it (thumbnail, WebP: they go with it) or its id in the library; so does an unfinished generation
or a request that waits, of any project; a scene is made after it; something in the library shares
its object. Documents of other projects are asked apart (`named_elsewhere`, `give_up`).

Belongs here: the question and what it is asked with. Does not belong here: asking it
(`database.retention`, `database.giving_up`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from scene_pipeline.database.rows import OPEN

MAX_KEEP_DAYS = 100_000
"""About 270 years; whatever another program writes into a project's row, no date goes beyond it."""

NAMES = (
    r"(projects/[0-9a-f-]{36}/scenes/[A-Za-z0-9_-]+\.[a-z]+|assets/derived/d_[0-9A-Za-z_]+\.[a-z]+"
    r"|frm_[0-9a-f]{32})"
)
"""How the key of a frame, or of another form of one, stands within any URL, whatever comes before
it, or its id in the library (`scenes.identity.frame_asset_id`): a regular expression of one
group."""


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What is kept of each scene although nothing needs it."""

    keep_versions: int
    """The newest versions of each scene."""
    keep_days: float
    """Everything younger than this."""


RULE: LiteralString = (
    "coalesce(p.keep_versions, %(keep_versions)s) AS keep_versions,"
    " least(coalesce(p.keep_days, %(keep_days)s), %(max_days)s)::float8 AS keep_days"
)
"""Columns of a project `p`: what is kept of its scenes."""
VERDICTS: LiteralString = f"""
WITH rules AS (SELECT p.id AS project_id, {RULE} FROM projects p WHERE p.id = ANY(%(projects)s)),
asked AS MATERIALIZED (
    SELECT DISTINCT m[1] AS name FROM (
        SELECT g.reference_images::text || g.parameters::text || g.content::text AS body
        FROM generations g WHERE g.{OPEN}
        UNION ALL SELECT r.overrides::text FROM regeneration_requests r
        WHERE r.state IN ('pending', 'claimed')) t,
        regexp_matches(t.body, %(pattern)s, 'g') AS m),
ranked AS (
    SELECT i.id, i.project_id, i.scene_id, i.version, i.storage_status, i.storage_path,
           i.file_size, i.is_current, i.generated_at, i.generation_id, row_number() OVER (
        PARTITION BY i.project_id, i.scene_id ORDER BY i.version DESC) AS place
    FROM scene_images i WHERE i.project_id = ANY(%(projects)s)),
judged AS MATERIALIZED (
    SELECT i.id, i.project_id, i.storage_path, i.file_size, i.scene_id, i.version,
           i.generation_id, CASE
        WHEN i.is_current THEN 'current'
        WHEN s.locked THEN 'locked'
        WHEN i.place <= r.keep_versions THEN 'newest'
        WHEN i.generated_at >= now() - make_interval(secs => r.keep_days * 86400) THEN 'young'
        WHEN g.{OPEN}
            OR EXISTS (SELECT 1 FROM generations o WHERE o.{OPEN} AND (
                o.reused_image_id = i.id OR o.reference_images @> jsonb_build_array(
                    jsonb_build_object('storage_key', i.storage_path))))
            OR EXISTS (SELECT 1 FROM reference_pictures f WHERE f.storage_key = i.storage_path)
            OR EXISTS (SELECT 1 FROM user_assets u
                       WHERE u.storage_key = i.storage_path AND u.deleted_at IS NULL)
        THEN 'referenced' END AS reason
    FROM ranked i
    JOIN rules r ON r.project_id = i.project_id
    JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id
    JOIN generations g ON g.id = i.generation_id
    WHERE i.storage_status = 'stored'),
documents AS MATERIALIZED (
    SELECT p.id, p.master_json::text AS body FROM projects p
    WHERE p.id IN (SELECT j.project_id FROM judged j WHERE j.reason IS NULL)),
verdicts AS MATERIALIZED (
    SELECT j.*, CASE WHEN j.reason IS NULL AND (position(j.storage_path IN d.body) > 0
        OR position('frm_' || replace(j.id::text, '-', '') IN d.body) > 0
        OR EXISTS (SELECT 1 FROM derivatives w
                   WHERE w.source_key = j.storage_path AND position(w.storage_key IN d.body) > 0)
        OR j.storage_path IN (SELECT a.name FROM asked a)
        OR 'frm_' || replace(j.id::text, '-', '') IN (SELECT a.name FROM asked a)
        OR EXISTS (SELECT 1 FROM derivatives w JOIN asked a ON a.name = w.storage_key
                   WHERE w.source_key = j.storage_path))
        THEN 'referenced' ELSE j.reason END AS kept_for
    FROM judged j LEFT JOIN documents d ON d.id = j.project_id),
due AS (
    SELECT v.*, o.refcount, o.size_bytes AS object_bytes,
        coalesce(g.cost_micros, 0) / (SELECT count(*) FROM scene_images x
            WHERE x.generation_id = g.id) AS cost_micros,
        coalesce(g.cost_kind, '') = 'metered' AS is_metered
    FROM verdicts v
    JOIN storage_objects o ON o.key = v.storage_path
    JOIN generations g ON g.id = v.generation_id
    WHERE v.kept_for IS NULL)
"""
"""The statement's beginning: the versions of %(projects)s with the reason for which each is kept
(`verdicts`), and those that are not (`due`). Takes `verdict_values`.

What unfinished work names is collected once (`asked`): looking for each version in each text would
cost their product."""


def verdict_values(project_ids: Sequence[UUID], rule: RetentionRule) -> dict[str, Any]:
    """What `VERDICTS` is asked with.

    Args:
        project_ids: The projects to judge.
        rule: What is kept of each scene where its project says nothing else.
    """
    return {
        "projects": list(project_ids),
        "keep_versions": rule.keep_versions,
        "keep_days": rule.keep_days,
        "max_days": MAX_KEEP_DAYS,
        "pattern": NAMES,
    }
