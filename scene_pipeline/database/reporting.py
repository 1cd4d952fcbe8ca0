"""What reports are made from: lines and sums of the ledger, read in one snapshot.

Belongs here: the SQL of one project's report, and the snapshot. Does not belong here: all projects
together (`reporting_all`), what is measured (`measures`), tables and files (`pipeline.reporting`).

Money is counted as the budgets count it: what a generation cost, and beside it what lost requests
may have cost. The statements are a handful however large a project is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from scene_pipeline.database.measures import (
    REJECTED_CODE,
    REJECTED_PICTURE,
    answer_seconds,
    used_generations,
)
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class SceneLine:
    """A scene as the report shows it; one that left the document is `retired`."""

    scene_id: str
    state: str
    """As the view `scene_status` has it, or "retired"."""
    versions: int
    current_version: int | None
    provider: str | None
    """Of the current version, as `model`."""
    model: str | None


@dataclass(frozen=True, slots=True)
class GenerationLine:
    """What one generation took."""

    scene_id: str
    provider: str
    model: str
    attempts: int
    """Requests that the service may have accepted."""
    seconds: float | None
    """From the request to the provider's answer; None where there was none."""
    cost_micros: int
    cost_kind: str | None
    """"metered", "estimated" or "free"; None where nothing was asked of anybody."""
    doubtful_micros: int
    """What lost requests may have cost that were followed by another."""
    versions: int
    """Pictures that came of it."""
    is_current: bool
    """Whether one of them is its scene's frame."""
    is_used: bool
    """Whether one of them is shown: as its scene's frame, or kept for another version."""


@dataclass(frozen=True, slots=True)
class FailureLine:
    """How often something failed in a scene."""

    scene_id: str
    provider: str
    model: str
    code: str
    failures: int


@dataclass(frozen=True, slots=True)
class FailureWords:
    """What a failure said of itself when it was met last."""

    code: str
    message: str
    next_action: str | None


@dataclass(frozen=True, slots=True)
class ProjectLines:
    """Everything that a project's report is made from, of one moment."""

    project_id: UUID
    key: str
    title: str | None
    scenes: list[SceneLine]
    """In the document's order; those that left it last."""
    generations: list[GenerationLine]
    failures: list[FailureLine]
    words: list[FailureWords]


_TITLE: LiteralString = (
    "SELECT left(master_json #>> '{project,title}', 300) AS title FROM projects"
    " WHERE id = %(project)s"
)
_OWN_I: LiteralString = "i.project_id = %(project)s"
_OWN_O: LiteralString = "o.project_id = %(project)s"
_SCENES: LiteralString = """
SELECT s.scene_id, coalesce(t.state, 'retired') AS state, coalesce(v.versions, 0)::int AS versions,
       i.version AS current_version, g.provider, g.endpoint AS model
FROM scenes s
LEFT JOIN scene_status t ON t.project_id = %(project)s AND t.scene_id = s.scene_id
LEFT JOIN (SELECT scene_id, count(*) AS versions FROM scene_images
           WHERE project_id = %(project)s GROUP BY scene_id) v ON v.scene_id = s.scene_id
LEFT JOIN scene_images i
    ON i.project_id = %(project)s AND i.scene_id = s.scene_id AND i.is_current
LEFT JOIN generations g ON g.id = i.generation_id
WHERE s.project_id = %(project)s
ORDER BY s.retired_at IS NOT NULL, s.position, s.scene_id
"""
_GENERATIONS: LiteralString = f"""
SELECT g.scene_id, g.provider, g.endpoint AS model, g.submit_count AS attempts,
       {answer_seconds("g")} AS seconds, coalesce(g.cost_micros, 0) AS cost_micros, g.cost_kind,
       g.doubtful_micros, coalesce(v.versions, 0)::int AS versions,
       coalesce(v.is_current AND s.retired_at IS NULL, false) AS is_current,
       g.id IN ({used_generations(_OWN_I, _OWN_O)}) AS is_used
FROM generations g
JOIN scenes s ON s.project_id = g.project_id AND s.scene_id = g.scene_id
LEFT JOIN (SELECT generation_id, count(*) AS versions, bool_or(is_current) AS is_current
           FROM scene_images WHERE project_id = %(project)s GROUP BY generation_id) v
    ON v.generation_id = g.id
WHERE g.project_id = %(project)s
ORDER BY g.seq
"""
_FAILURES: LiteralString = f"""
SELECT f.scene_id, f.provider, f.model, f.code, count(*)::int AS failures FROM (
    SELECT e.scene_id, g.provider, g.endpoint AS model,
           coalesce(e.data ->> 'code', 'unknown') AS code
    FROM pipeline_events e JOIN generations g ON g.id = e.generation_id
    WHERE e.project_id = %(project)s AND e.kind = 'generation_failed'
    UNION ALL
    SELECT g.scene_id, g.provider, g.endpoint, '{REJECTED_CODE}' FROM generations g
    WHERE g.project_id = %(project)s AND {REJECTED_PICTURE}) f
GROUP BY f.scene_id, f.provider, f.model, f.code
ORDER BY f.scene_id, f.provider, f.model, f.code
"""
_WORDS: LiteralString = """
SELECT DISTINCT ON (g.error_code) g.error_code AS code, coalesce(g.error_message, '') AS message,
       g.error_next_action AS next_action
FROM generations g
WHERE g.project_id = %(project)s AND g.state = 'failed'
ORDER BY g.error_code, g.updated_at DESC, g.seq DESC
"""


@asynccontextmanager
async def snapshot(conn: Connection) -> AsyncIterator[None]:
    """Read several statements of one moment, and nothing but read.

    Args:
        conn: Outside of a transaction.
    """
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


async def read_project_lines(conn: Connection, project_key: str) -> ProjectLines:
    """Everything that a project's report is made from, of one moment.

    Args:
        conn: Outside of a transaction.
        project_key: The project's key; archived ones are reported as well.

    Raises:
        NotFoundError: There is no such project.
    """
    async with snapshot(conn):
        project = await get_project(conn, project_key)
        [titled] = await _rows(conn, _TITLE, project.id)
        return ProjectLines(
            project_id=project.id,
            key=project.key,
            title=titled["title"],
            scenes=[SceneLine(**row) for row in await _rows(conn, _SCENES, project.id)],
            generations=[
                GenerationLine(**row) for row in await _rows(conn, _GENERATIONS, project.id)
            ],
            failures=[FailureLine(**row) for row in await _rows(conn, _FAILURES, project.id)],
            words=[FailureWords(**row) for row in await _rows(conn, _WORDS, project.id)],
        )


async def _rows(
    conn: Connection, statement: LiteralString, project_id: UUID
) -> list[dict[str, Any]]:
    cursor = await conn.execute(statement, {"project": project_id})
    return await cursor.fetchall()
