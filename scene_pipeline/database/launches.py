"""Launches: rows that stand for Dagster runs, committed before the run is asked for.

Belongs here: writing, reading and closing them, and giving back what one held when it came to
nothing. Does not belong here: what is due (`database.due`), and what Dagster says of a run
(`defs.launch_requests`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from scene_pipeline.database.rows import OPEN, Connection

Trigger = Literal[
    "scene_changes", "auto_refresh", "regeneration_requests", "unfinished_generations", "command"
]
EXPIRED = "expired"
"""Outcome of a launch whose run never came to be."""
CANCELED = "CANCELED"
"""Outcome of a launch whose run a person cancelled, as Dagster spells it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A row of `launches`, with its project's key."""

    id: int
    trigger: Trigger
    project_id: UUID
    project_key: str
    scene_ids: list[str]
    request_ids: list[int]
    refresh_stale: bool
    reason: str
    age_seconds: float
    """Since it was committed, by the database's clock."""


_LAUNCH = (
    "l.id, l.trigger, l.project_id, p.key AS project_key, l.scene_ids, l.request_ids,"
    " l.refresh_stale, l.reason, extract(epoch FROM now() - l.created_at)::float8 AS age_seconds"
)


async def lock_launches(conn: Connection) -> None:
    """Let one transaction at a time decide what is launched; held until it ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('launches', 0))")


async def insert_launch(
    conn: Connection,
    trigger: Trigger,
    project_id: UUID,
    scene_ids: Sequence[str],
    *,
    reason: str,
    request_ids: Sequence[int] = (),
    refresh_stale: bool = False,
) -> int:
    """Write a launch inside the caller's transaction; returns its id."""
    cursor = await conn.execute(
        "INSERT INTO launches (trigger, project_id, scene_ids, request_ids, refresh_stale, reason)"
        " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
        (trigger, project_id, list(scene_ids), list(request_ids), refresh_stale, reason),
    )
    row = await cursor.fetchone()
    if row is None:  # an INSERT without a conflict clause returns its row
        raise RuntimeError("a launch was not written")
    return int(row["id"])


async def get_launch(conn: Connection, launch_id: int) -> Launch | None:
    """Read one launch, open or closed."""
    cursor = await conn.execute(
        f"SELECT {_LAUNCH} FROM launches l JOIN projects p ON p.id = l.project_id WHERE l.id = %s",
        (launch_id,),
    )
    row = await cursor.fetchone()
    return Launch(**row) if row else None


async def open_launches(
    conn: Connection, triggers: Collection[Trigger], limit: int
) -> list[Launch]:
    """Launches that are not closed, the oldest first."""
    cursor = await conn.execute(
        f"SELECT {_LAUNCH} FROM launches l JOIN projects p ON p.id = l.project_id"
        " WHERE l.closed_at IS NULL AND l.trigger = ANY(%s) ORDER BY l.id LIMIT %s",
        (list(triggers), limit),
    )
    return [Launch(**row) for row in await cursor.fetchall()]


async def launched_scenes(conn: Connection, project_id: UUID) -> frozenset[str]:
    """Scenes of a project that an open launch of any trigger holds."""
    cursor = await conn.execute(
        "SELECT DISTINCT unnest(scene_ids) AS scene_id FROM launches"
        " WHERE closed_at IS NULL AND project_id = %s",
        (project_id,),
    )
    return frozenset([row["scene_id"] for row in await cursor.fetchall()])


async def close_launch(conn: Connection, launch_id: int, outcome: str) -> bool:
    """Close a launch, inside the caller's transaction; False where somebody else already did.

    What its run left undone is due again at the time that was set when it was launched. Two
    outcomes change that: an expired launch never ran, so that its scenes are due at once; and what
    a person cancelled is not begun again by itself, unless its scene was edited meanwhile.
    """
    cursor = await conn.execute(
        "UPDATE launches SET closed_at = now(), outcome = %s WHERE id = %s AND closed_at IS NULL"
        " RETURNING 1",
        (outcome, launch_id),
    )
    if await cursor.fetchone() is None:
        return False
    if outcome == EXPIRED:
        await _give_back(conn, launch_id)
    elif outcome == CANCELED:
        await _let_rest(conn, launch_id)
    return True


async def _give_back(conn: Connection, launch_id: int) -> None:
    """Make due what an expired launch was to carry out; the attempt does not count."""
    await conn.execute(
        "UPDATE scenes s SET wanted_at = now(), want_attempts = greatest(want_attempts - 1, 0)"
        " FROM launches l WHERE l.id = %s AND l.trigger IN ('scene_changes', 'auto_refresh')"
        " AND s.project_id = l.project_id AND s.scene_id = ANY(l.scene_ids)"
        " AND s.retired_at IS NULL",
        (launch_id,),
    )
    await conn.execute(
        "UPDATE regeneration_requests r SET due_at = now(), attempts = greatest(attempts - 1, 0)"
        " FROM launches l WHERE l.id = %s AND r.id = ANY(l.request_ids) AND r.state = 'pending'",
        (launch_id,),
    )
    await conn.execute(
        "UPDATE generations g SET take_up_at = now(),"
        " take_up_attempts = greatest(take_up_attempts - 1, 0)"
        " FROM launches l WHERE l.id = %s AND l.trigger = 'unfinished_generations'"
        f" AND g.project_id = l.project_id AND g.scene_id = ANY(l.scene_ids) AND g.{OPEN}",
        (launch_id,),
    )


async def _let_rest(conn: Connection, launch_id: int) -> None:
    """Ask for nothing any more that a cancelled launch was to do and that is not paid for."""
    await conn.execute(
        "UPDATE scenes s SET wanted_at = NULL FROM launches l WHERE l.id = %s"
        " AND s.project_id = l.project_id AND s.scene_id = ANY(l.scene_ids)"
        " AND s.content_changed_at <= l.created_at",
        (launch_id,),
    )
    # What a command asked for, the same command goes on with; until then, or until it is asked for
    # once more, it waits.
    await conn.execute(
        "UPDATE regeneration_requests r SET due_at = now() + interval '1 day'"
        " FROM launches l WHERE l.id = %s AND l.trigger = 'command' AND r.state = 'pending'"
        " AND r.project_id = l.project_id AND r.scene_id = ANY(l.scene_ids)"
        " AND r.created_at <= l.created_at",
        (launch_id,),
    )
    await conn.execute(
        "UPDATE regeneration_requests r SET state = 'failed', finished_at = now(),"
        " error_code = 'run_canceled', error_message = 'Its run was cancelled before it began.'"
        " FROM launches l WHERE l.id = %s AND r.id = ANY(l.request_ids) AND r.state = 'pending'",
        (launch_id,),
    )
