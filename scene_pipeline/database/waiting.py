"""What waits for a run: requests that nobody has answered yet, and runs that were asked for.

Belongs here: reading them for people. Does not belong here: answering requests (`requests`),
launching and closing launches (`launches`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A regeneration request that is not answered."""

    id: int
    scene_id: str
    state: Literal["pending", "claimed"]
    """claimed: the scene's open generation answers it."""
    overrides: Mapping[str, Any]
    asked: int
    """How often it was asked for in the same words."""
    requested_by: str | None
    reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OpenLaunch:
    """A run that was asked for, and is not known to have ended."""

    id: int
    trigger: str
    reason: str
    created_at: datetime


async def waiting_requests(conn: Connection, project_id: UUID) -> dict[str, list[WaitingRequest]]:
    """Every unanswered request of a project by scene, in the order in which they are answered."""
    cursor = await conn.execute(
        "SELECT id, scene_id, state, overrides, asked, requested_by, reason, created_at"
        " FROM regeneration_requests WHERE project_id = %s AND state IN ('pending', 'claimed')"
        " ORDER BY id",
        (project_id,),
    )
    found: dict[str, list[WaitingRequest]] = {}
    for row in await cursor.fetchall():
        found.setdefault(row["scene_id"], []).append(WaitingRequest(**row))
    return found


async def launches_of_scenes(conn: Connection, project_id: UUID) -> dict[str, OpenLaunch]:
    """The newest open launch of every scene that is in one."""
    cursor = await conn.execute(
        "SELECT scene_ids, id, trigger, reason, created_at FROM launches"
        " WHERE project_id = %s AND closed_at IS NULL ORDER BY id",
        (project_id,),
    )
    found = {}
    for row in await cursor.fetchall():
        scene_ids = row.pop("scene_ids")
        found.update(dict.fromkeys(scene_ids, OpenLaunch(**row)))
    return found


async def is_refreshed_by_itself(conn: Connection, project_key: str) -> bool:
    """Whether the project's edited scenes get new frames unasked."""
    cursor = await conn.execute(
        "SELECT 1 FROM projects WHERE key = %s AND auto_refresh AND archived_at IS NULL",
        (project_key,),
    )
    return await cursor.fetchone() is not None
