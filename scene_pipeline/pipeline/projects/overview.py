"""All projects at a glance.

Belongs here: reading; one query whatever the number of projects. Does not belong here: one project
in detail (`pipeline.planning.preview`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class ProjectOverview:
    """One project's line."""

    key: str
    title: str | None
    revision: int
    scene_count: int
    counts: Mapping[str, int]
    """How many scenes are in which state (the states of the view `scene_status`)."""
    cost_micros: int
    """Spent on it so far."""
    document_problem: Mapping[str, str] | None
    """Why the document cannot be used, as {code, message}; its scenes are as planned before."""


async def list_overviews(conn: Connection) -> list[ProjectOverview]:
    """Every project that is not archived, by key."""
    cursor = await conn.execute(
        "SELECT p.key, p.revision, p.document_problem,"
        " p.master_json -> 'project' ->> 'title' AS title,"
        " coalesce(sum(s.number), 0)::int AS scene_count,"
        " coalesce(jsonb_object_agg(s.state, s.number) FILTER (WHERE s.state IS NOT NULL), '{}')"
        " AS counts, (SELECT coalesce(sum(coalesce(g.cost_micros, 0) + g.doubtful_micros), 0)"
        "   FROM generations g WHERE g.project_id = p.id)::bigint AS cost_micros"
        " FROM projects p LEFT JOIN (SELECT project_id, state, count(*) AS number"
        "   FROM scene_status GROUP BY project_id, state) s"
        " ON s.project_id = p.id WHERE p.archived_at IS NULL GROUP BY p.id ORDER BY p.key"
    )
    return [ProjectOverview(**row) for row in await cursor.fetchall()]
