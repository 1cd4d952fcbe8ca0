"""What is due to be launched: paged questions that indexes answer, and the times set in return.

Only the database's clock is compared. An answer leaves out what an open launch holds already.

Belongs here: the predicates and the updates that go with them. Does not belong here: what follows
from an answer (`pipeline.due.launches`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import OPEN, Connection, GenerationState

_NOT_LAUNCHED: LiteralString = (
    "NOT EXISTS (SELECT 1 FROM launches l WHERE l.closed_at IS NULL"
    " AND l.project_id = x.project_id AND x.scene_id = ANY(l.scene_ids))"
)


@dataclass(frozen=True, slots=True)
class WantedScene:
    """A scene that the sensor of changes is to look at."""

    project_id: UUID
    project_key: str
    scene_id: str
    wanted_at: datetime
    is_out: bool
    """Whether it was retired, or its project archived: nothing is ever begun for it."""


@dataclass(frozen=True, slots=True)
class DueRequest:
    """The oldest pending request of a scene, and what it would meet."""

    id: int
    project_id: UUID
    project_key: str
    scene_id: str
    overrides: Mapping[str, Any]
    requested_by: str | None
    reason: str | None
    attempts: int
    is_archived: bool
    is_planned: bool
    """Whether the document is planned as it stands, so that a scene that is missing is unknown."""
    is_known: bool
    problem_code: str | None
    problem_message: str | None
    is_kept: bool
    """Whether the scene is locked with a frame, which is never replaced."""


@dataclass(frozen=True, slots=True)
class UnfinishedGeneration:
    """An open generation that nobody holds."""

    id: UUID
    project_id: UUID
    project_key: str
    scene_id: str
    state: GenerationState
    run_id: str | None
    error_code: str | None
    is_blocked: bool
    """Whether that error lasts until somebody or something changes a fact (`is_blocking`)."""
    take_up_attempts: int


async def database_time(conn: Connection) -> datetime:
    """The database's clock at the transaction's begin: no other one is compared."""
    cursor = await conn.execute("SELECT now() AS now")
    row = await cursor.fetchone()
    if row is None:  # a SELECT without FROM returns its row
        raise RuntimeError("the database told no time")
    now: datetime = row["now"]
    return now


async def changed_projects(conn: Connection, limit: int) -> list[UUID]:
    """Projects whose document is newer than what was planned of it."""
    cursor = await conn.execute(
        "SELECT id FROM projects WHERE revision > planned_revision AND archived_at IS NULL"
        " ORDER BY id LIMIT %s",
        (limit,),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def set_document_aside(
    conn: Connection, project_id: UUID, revision: int, problem: Mapping[str, str]
) -> bool:
    """Keep why a document cannot be used, until there is another one; False where there is."""
    cursor = await conn.execute(
        "UPDATE projects SET document_problem = %s, planned_revision = %s"
        " WHERE id = %s AND revision = %s RETURNING 1",
        (Jsonb(dict(problem)), revision, project_id, revision),
    )
    return await cursor.fetchone() is not None


async def wanted_scenes(conn: Connection, limit: int) -> list[WantedScene]:
    """Scenes to look at now, the longest waiting first."""
    cursor = await conn.execute(
        "SELECT x.project_id, p.key AS project_key, x.scene_id, x.wanted_at,"
        " x.retired_at IS NOT NULL OR p.archived_at IS NOT NULL AS is_out"
        " FROM scenes x JOIN projects p ON p.id = x.project_id"
        f" WHERE x.wanted_at <= now() AND {_NOT_LAUNCHED}"
        " ORDER BY x.wanted_at, x.project_id, x.position LIMIT %s",
        (limit,),
    )
    return [WantedScene(**row) for row in await cursor.fetchall()]


async def set_wanted(
    conn: Connection,
    project_id: UUID,
    seen: Mapping[str, datetime],
    wanted_at: datetime | None,
) -> None:
    """Look at scenes again later, or not before something happens to them.

    Args:
        conn: Anything.
        project_id: Whose scenes.
        seen: By scene, when it was wanted: one that was edited since stays due.
        wanted_at: When to look again; None settles them.
    """
    await conn.execute(
        "UPDATE scenes s SET wanted_at = %s FROM unnest(%s::text[], %s::timestamptz[])"
        " AS seen (scene_id, wanted_at) WHERE s.project_id = %s AND s.scene_id = seen.scene_id"
        " AND s.wanted_at = seen.wanted_at",
        (wanted_at, list(seen), list(seen.values()), project_id),
    )


async def count_want(
    conn: Connection,
    project_id: UUID,
    seen: Mapping[str, datetime],
    waits: Sequence[timedelta],
) -> None:
    """Count an attempt for launched scenes and set when they are looked at again.

    Args:
        conn: In the transaction that writes the launch.
        project_id: Whose scenes.
        seen: As for `set_wanted`.
        waits: After the first attempt, the second and so on; after one more they are left alone.
    """
    await conn.execute(
        "UPDATE scenes s SET want_attempts = want_attempts + 1,"
        # An index past the end of an array gives NULL: no more attempts.
        " wanted_at = now() + (%s::interval[])[want_attempts + 1]"
        " FROM unnest(%s::text[], %s::timestamptz[]) AS seen (scene_id, wanted_at)"
        " WHERE s.project_id = %s AND s.scene_id = seen.scene_id AND s.wanted_at = seen.wanted_at",
        (list(waits), list(seen), list(seen.values()), project_id),
    )


async def due_requests(conn: Connection, limit: int) -> list[DueRequest]:
    """The oldest pending request of each scene, where it is due and no generation is under way."""
    cursor = await conn.execute(
        "SELECT x.id, x.project_id, p.key AS project_key, x.scene_id, x.overrides, x.requested_by,"
        " x.reason, x.attempts, p.archived_at IS NOT NULL AS is_archived,"
        " p.planned_revision >= p.revision AS is_planned,"
        " coalesce(s.retired_at IS NULL AND s.scene_id IS NOT NULL, false) AS is_known,"
        " s.problem_code, s.problem_message, coalesce(s.locked, false) AND EXISTS ("
        "   SELECT 1 FROM scene_images i WHERE i.project_id = x.project_id"
        "   AND i.scene_id = x.scene_id AND i.is_current) AS is_kept"
        " FROM regeneration_requests x JOIN projects p ON p.id = x.project_id"
        " LEFT JOIN scenes s ON s.project_id = x.project_id AND s.scene_id = x.scene_id"
        f" WHERE x.state = 'pending' AND x.due_at <= now() AND {_NOT_LAUNCHED}"
        " AND NOT EXISTS (SELECT 1 FROM regeneration_requests o WHERE o.state = 'pending'"
        "   AND o.project_id = x.project_id AND o.scene_id = x.scene_id AND o.id < x.id)"
        " AND NOT EXISTS (SELECT 1 FROM generations g WHERE g.project_id = x.project_id"
        f"   AND g.scene_id = x.scene_id AND g.{OPEN})"
        " ORDER BY x.due_at, x.id LIMIT %s",
        (limit,),
    )
    return [DueRequest(**row) for row in await cursor.fetchall()]


async def count_requests(
    conn: Connection, request_ids: Sequence[int], waits: Sequence[timedelta]
) -> None:
    """Count an attempt for launched requests and set when they are due again.

    Args:
        conn: In the transaction that writes the launch.
        request_ids: Which ones.
        waits: After the first attempt, the second and so on; the last one holds from there on.
    """
    await conn.execute(
        "UPDATE regeneration_requests SET attempts = attempts + 1,"
        " due_at = now() + (%(waits)s::interval[])"
        "   [least(attempts + 1, cardinality(%(waits)s::interval[]))]"
        " WHERE id = ANY(%(ids)s) AND state = 'pending'",
        {"waits": list(waits), "ids": list(request_ids)},
    )


async def unfinished_generations(conn: Connection, limit: int) -> list[UnfinishedGeneration]:
    """Open generations that are due and whose lock nobody holds, the longest waiting first.

    Where the project is archived, or its document has the scene no more or not so that it can be
    used, only what is paid for, or may be, is finished.
    """
    cursor = await conn.execute(
        "WITH held AS MATERIALIZED (SELECT (classid::bigint << 32) | objid::bigint AS key"
        "   FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        " SELECT x.id, x.project_id, p.key AS project_key, x.scene_id, x.state, x.run_id,"
        " x.error_code, is_blocking(x.error_code) AS is_blocked, x.take_up_attempts"
        " FROM generations x JOIN projects p ON p.id = x.project_id"
        " JOIN scenes s ON s.project_id = x.project_id AND s.scene_id = x.scene_id"
        f" WHERE x.{OPEN}"
        " AND x.take_up_at <= now() AND NOT p.is_scratch AND (x.state <> 'planned'"
        "   OR (s.retired_at IS NULL AND s.problem_code IS NULL AND p.archived_at IS NULL))"
        " AND hashtextextended('generation:' || x.id::text, 0) NOT IN (SELECT key FROM held)"
        f" AND {_NOT_LAUNCHED} ORDER BY x.take_up_at, x.id LIMIT %s",
        (limit,),
    )
    return [UnfinishedGeneration(**row) for row in await cursor.fetchall()]


async def set_take_up(
    conn: Connection, waits: Mapping[UUID, timedelta], *, is_attempt: bool
) -> None:
    """Set when generations are to be taken up again, counting an attempt where one is made."""
    await conn.execute(
        "UPDATE generations g SET take_up_at = now() + due.wait,"
        " take_up_attempts = take_up_attempts + %s"
        " FROM unnest(%s::uuid[], %s::interval[]) AS due (id, wait) WHERE g.id = due.id",
        (int(is_attempt), list(waits), list(waits.values())),
    )


async def scenes_at_rest(conn: Connection, project_id: UUID) -> frozenset[str]:
    """Scenes for which *ensure* does nothing but say so: they may fill the gaps of a range."""
    cursor = await conn.execute(
        "SELECT scene_id FROM scene_status WHERE project_id = %s"
        " AND state IN ('current', 'locked') AND request_id IS NULL",
        (project_id,),
    )
    return frozenset([row["scene_id"] for row in await cursor.fetchall()])
