"""What the report over all projects is made from: sums of the ledger, read in one snapshot.

Belongs here: its SQL. Does not belong here: one project's report (`reporting`), tables and files
(`pipeline.reporting`).

Days are of UTC, as those of the day's cap. Drills are left out, archived projects are in. The sums
are made by the database: nothing here grows with the number of generations.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from scene_pipeline.database.measures import (
    MONEY,
    REJECTED_CODE,
    REJECTED_PICTURE,
    Money,
    answer_seconds,
    used_generations,
    with_money,
)
from scene_pipeline.database.reporting import snapshot
from scene_pipeline.database.rows import Connection

MAX_DAYS = 400
"""Days that are read, today included; sums over all time know no such bound."""


@dataclass(frozen=True, slots=True)
class ProjectSums:
    """One project's line."""

    key: str
    title: str | None
    is_archived: bool
    scenes: int
    ready: int
    """Scenes whose frame may go to video, as the storyboard's list has it."""
    frames: int
    """Scenes that have a frame at all."""
    versions: int
    attempts: int
    failures: int
    money: Money
    """Doubtful payments included, as the budgets count."""
    week_micros: int
    """Of all of it, the last 7 days, today included."""
    month_micros: int
    """Likewise, the last 30 days."""


@dataclass(frozen=True, slots=True)
class DaySums:
    """What one model took on one day."""

    day: date
    provider: str
    model: str
    attempts: int
    cost_micros: int


@dataclass(frozen=True, slots=True)
class DayVersions:
    """Pictures of one day."""

    day: date
    versions: int


@dataclass(frozen=True, slots=True)
class ModelSums:
    """What one model took and gave, over all time."""

    provider: str
    model: str
    frames: int
    versions: int
    attempts: int
    failures: int
    rejections: int
    seconds_median: float | None
    seconds_p95: float | None
    money: Money


@dataclass(frozen=True, slots=True)
class PortfolioSums:
    """Everything that the report over all projects is made from, of one moment."""

    today: date
    projects: list[ProjectSums]
    """By key."""
    days: list[DaySums]
    """Oldest first, at most 400 days back."""
    versions: list[DayVersions]
    """Likewise."""
    models: list[ModelSums]


_USED: LiteralString = f"used AS MATERIALIZED ({used_generations('true', 'true')})"
_SECONDS: LiteralString = answer_seconds("g")
_PAID_AT: LiteralString = "coalesce(g.submitting_at, g.completed_at, g.created_at)"
_FAILED: LiteralString = f"""failed AS MATERIALIZED (
    SELECT e.project_id, g.provider, g.endpoint, e.data ->> 'code' AS code
    FROM pipeline_events e JOIN generations g ON g.id = e.generation_id
    WHERE e.kind = 'generation_failed'
    UNION ALL
    SELECT g.project_id, g.provider, g.endpoint, '{REJECTED_CODE}' FROM generations g
    WHERE {REJECTED_PICTURE})"""


def _money_since(days: LiteralString) -> LiteralString:
    """Everything that was spent within so many days, today included."""
    since: LiteralString = (
        f"(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '{days} days') AT TIME ZONE 'UTC'"
    )
    return f"""(coalesce(sum(g.cost_micros) FILTER (WHERE {_PAID_AT} >= {since}), 0)
    + coalesce(sum(g.doubtful_micros) FILTER (WHERE g.doubtful_since >= {since}), 0))::bigint"""


_PROJECTS: LiteralString = f"""
WITH {_USED}, {_FAILED},
states AS MATERIALIZED (
    SELECT project_id, count(*) AS scenes, count(image_id) AS frames,
           count(*) FILTER (WHERE is_ready) AS ready
    FROM scene_status GROUP BY project_id),
pictures AS MATERIALIZED (
    SELECT project_id, count(*) AS versions FROM scene_images GROUP BY project_id),
failures AS MATERIALIZED (SELECT project_id, count(*) AS failures FROM failed GROUP BY project_id),
money AS MATERIALIZED (
    SELECT g.project_id, sum(g.submit_count) AS attempts, {MONEY},
           {_money_since("6")} AS week_micros, {_money_since("29")} AS month_micros
    FROM generations g LEFT JOIN used u ON u.generation_id = g.id GROUP BY g.project_id)
SELECT p.key, left(p.master_json #>> '{{project,title}}', 300) AS title,
       p.archived_at IS NOT NULL AS is_archived,
       coalesce(t.scenes, 0)::int AS scenes, coalesce(t.ready, 0)::int AS ready,
       coalesce(t.frames, 0)::int AS frames, coalesce(i.versions, 0)::int AS versions,
       coalesce(m.attempts, 0)::int AS attempts, coalesce(f.failures, 0)::int AS failures,
       coalesce(m.metered_micros, 0) AS metered_micros,
       coalesce(m.estimated_micros, 0) AS estimated_micros,
       coalesce(m.doubtful_micros, 0) AS doubtful_micros,
       coalesce(m.used_micros, 0) AS used_micros,
       coalesce(m.week_micros, 0) AS week_micros, coalesce(m.month_micros, 0) AS month_micros
FROM projects p
LEFT JOIN states t ON t.project_id = p.id
LEFT JOIN pictures i ON i.project_id = p.id
LEFT JOIN failures f ON f.project_id = p.id
LEFT JOIN money m ON m.project_id = p.id
WHERE NOT p.is_scratch
ORDER BY p.key
"""
_DAYS: LiteralString = f"""
SELECT d.day, d.provider, d.model, sum(d.attempts)::int AS attempts,
       sum(d.micros)::bigint AS cost_micros
FROM (
    SELECT g.project_id, ({_PAID_AT} AT TIME ZONE 'UTC')::date AS day, g.provider,
           g.endpoint AS model, g.submit_count - g.doubtful_submits AS attempts,
           coalesce(g.cost_micros, 0) AS micros
    FROM generations g WHERE g.submit_count > 0
    UNION ALL
    SELECT g.project_id, (g.doubtful_since AT TIME ZONE 'UTC')::date, g.provider, g.endpoint,
           g.doubtful_submits, g.doubtful_micros
    FROM generations g WHERE g.doubtful_submits > 0) d
JOIN projects p ON p.id = d.project_id AND NOT p.is_scratch
WHERE d.day > (now() AT TIME ZONE 'UTC')::date - {MAX_DAYS}
GROUP BY d.day, d.provider, d.model ORDER BY d.day, d.provider, d.model
"""
_VERSIONS: LiteralString = f"""
SELECT (i.generated_at AT TIME ZONE 'UTC')::date AS day, count(*)::int AS versions
FROM scene_images i JOIN projects p ON p.id = i.project_id AND NOT p.is_scratch
WHERE (i.generated_at AT TIME ZONE 'UTC')::date > (now() AT TIME ZONE 'UTC')::date - {MAX_DAYS}
GROUP BY day ORDER BY day
"""
_MODELS: LiteralString = f"""
WITH {_USED}, {_FAILED},
failures AS MATERIALIZED (
    SELECT f.provider, f.endpoint, count(*) AS failures,
           count(*) FILTER (WHERE f.code = '{REJECTED_CODE}') AS rejections
    FROM failed f JOIN projects p ON p.id = f.project_id AND NOT p.is_scratch
    GROUP BY f.provider, f.endpoint),
pictures AS MATERIALIZED (
    SELECT g.provider, g.endpoint, count(*) AS versions,
           count(*) FILTER (WHERE i.is_current AND s.retired_at IS NULL) AS frames
    FROM scene_images i JOIN generations g ON g.id = i.generation_id
    JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id
    JOIN projects p ON p.id = i.project_id AND NOT p.is_scratch
    GROUP BY g.provider, g.endpoint),
money AS MATERIALIZED (
    SELECT g.provider, g.endpoint, sum(g.submit_count) AS attempts, {MONEY},
           percentile_cont(0.5) WITHIN GROUP (ORDER BY {_SECONDS}) AS seconds_median,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY {_SECONDS}) AS seconds_p95
    FROM generations g JOIN projects p ON p.id = g.project_id AND NOT p.is_scratch
    LEFT JOIN used u ON u.generation_id = g.id
    GROUP BY g.provider, g.endpoint)
SELECT m.provider, m.endpoint AS model, coalesce(i.frames, 0)::int AS frames,
       coalesce(i.versions, 0)::int AS versions, m.attempts::int AS attempts,
       coalesce(f.failures, 0)::int AS failures, coalesce(f.rejections, 0)::int AS rejections,
       m.seconds_median, m.seconds_p95, m.metered_micros, m.estimated_micros, m.doubtful_micros,
       m.used_micros
FROM money m
LEFT JOIN pictures i USING (provider, endpoint)
LEFT JOIN failures f USING (provider, endpoint)
ORDER BY m.provider, m.endpoint
"""


async def read_portfolio_sums(conn: Connection) -> PortfolioSums:
    """Everything that the report over all projects is made from, of one moment.

    Args:
        conn: Outside of a transaction.
    """
    async with snapshot(conn):
        [moment] = await _rows(conn, "SELECT (now() AT TIME ZONE 'UTC')::date AS today")
        return PortfolioSums(
            today=moment["today"],
            projects=[ProjectSums(**with_money(row)) for row in await _rows(conn, _PROJECTS)],
            days=[DaySums(**row) for row in await _rows(conn, _DAYS)],
            versions=[DayVersions(**row) for row in await _rows(conn, _VERSIONS)],
            models=[ModelSums(**with_money(row)) for row in await _rows(conn, _MODELS)],
        )


async def _rows(conn: Connection, statement: LiteralString) -> list[dict[str, Any]]:
    cursor = await conn.execute(statement)
    return await cursor.fetchall()
