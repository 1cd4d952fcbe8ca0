"""Regeneration requests: rows that ask for a new version of a scene."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.alerts import raise_alert
from scene_pipeline.database.rows import Connection, Generation


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """The oldest request of a scene that is not answered."""

    id: int
    overrides: Mapping[str, Any]
    generation_id: UUID | None
    """Set once a generation answers it."""


async def ask_for_new_versions(
    conn: Connection,
    project_id: UUID,
    scene_ids: Sequence[str],
    *,
    overrides: Mapping[str, Any],
    batch: str,
    requested_by: str,
    reason: str | None,
) -> bool:
    """Write one request per scene, unless the same batch is still being answered.

    A command that was interrupted therefore goes on as the same when it is given again: the scenes
    it finished are not bought a second time.

    Returns:
        Whether new requests were written; False when an unfinished batch is being continued.
    """
    async with conn.transaction():
        await conn.execute("SELECT 1 FROM projects WHERE id = %s FOR UPDATE", (project_id,))
        cursor = await conn.execute(
            "SELECT 1 FROM regeneration_requests WHERE project_id = %s AND batch = %s"
            " AND state IN ('pending', 'claimed') LIMIT 1",
            (project_id, batch),
        )
        if await cursor.fetchone() is not None:
            return False
        for scene_id in scene_ids:
            await conn.execute(
                "INSERT INTO regeneration_requests"
                " (project_id, scene_id, overrides, batch, requested_by, reason)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (project_id, scene_id, Jsonb(dict(overrides)), batch, requested_by, reason),
            )
    return True


async def oldest_open_request(
    conn: Connection, project_id: UUID, scene_id: str
) -> PendingRequest | None:
    """The request to answer next, if any."""
    cursor = await conn.execute(
        "SELECT id, overrides, generation_id FROM regeneration_requests"
        " WHERE project_id = %s AND scene_id = %s AND state IN ('pending', 'claimed')"
        " ORDER BY id LIMIT 1",
        (project_id, scene_id),
    )
    row = await cursor.fetchone()
    return PendingRequest(**row) if row else None


async def claim_request(conn: Connection, request_id: int, generation_id: UUID) -> None:
    """Say which generation answers a request."""
    await conn.execute(
        "UPDATE regeneration_requests SET state = 'claimed', generation_id = %s"
        " WHERE id = %s AND state IN ('pending', 'claimed')",
        (generation_id, request_id),
    )


async def answer_of_order(
    conn: Connection, project_id: UUID, scene_id: str, token: str
) -> UUID | None:
    """The generation that answered an order of this token although it was made for another."""
    cursor = await conn.execute(
        "SELECT generation_id FROM regeneration_requests WHERE project_id = %s AND scene_id = %s"
        " AND batch = %s AND state = 'done' AND generation_id IS NOT NULL ORDER BY id DESC LIMIT 1",
        (project_id, scene_id, _batch_of_order(token)),
    )
    row = await cursor.fetchone()
    return row["generation_id"] if row else None


async def keep_answer_of_order(conn: Connection, token: str, generation: Generation) -> None:
    """Remember it, so that the same order, retried after a crash, does not buy another one."""
    place = (generation.project_id, generation.scene_id)
    if await answer_of_order(conn, *place, token) == generation.id:
        return
    await conn.execute(
        "INSERT INTO regeneration_requests"
        " (project_id, scene_id, batch, requested_by, state, generation_id, finished_at)"
        " VALUES (%s, %s, %s, 'run', 'done', %s, now())",
        (*place, _batch_of_order(token), generation.id),
    )


def _batch_of_order(token: str) -> str:
    return f"order:{token}"


async def answer_without_payment(conn: Connection, request_id: int, *, is_failed: bool) -> None:
    """Close a request for which nothing is made: what it asks for exists, or failed for good."""
    await conn.execute(
        "UPDATE regeneration_requests SET state = %s, finished_at = now()"
        " WHERE id = %s AND state IN ('pending', 'claimed')",
        ("failed" if is_failed else "done", request_id),
    )


async def refuse_requests(
    conn: Connection,
    request_ids: Sequence[int],
    *,
    code: str,
    message: str,
    next_action: str,
    state: Literal["pending", "claimed"] = "pending",
) -> None:
    """Close requests that cannot be granted, each with its reason in its row and an alert.

    Args:
        conn: In a transaction.
        request_ids: Which ones.
        code: Of the reason.
        message: The reason in one sentence.
        next_action: What whoever asked can do.
        state: In which they are; one that somebody moved on meanwhile is left to him.
    """
    cursor = await conn.execute(
        "UPDATE regeneration_requests SET state = 'failed', finished_at = now(), error_code = %s,"
        " error_message = %s WHERE id = ANY(%s) AND state = %s RETURNING id, project_id, scene_id",
        (code, message, list(request_ids), state),
    )
    for row in await cursor.fetchall():
        await raise_alert(
            conn,
            fingerprint=f"request:{row['id']}",
            code=code,
            message=message,
            next_action=next_action,
            project_id=row["project_id"],
            scene_id=row["scene_id"],
        )


async def claims_of(conn: Connection, generation_id: UUID) -> list[int]:
    """Ids of the unanswered requests that a generation is to answer."""
    cursor = await conn.execute(
        "SELECT id FROM regeneration_requests WHERE generation_id = %s AND state = 'claimed'"
        " ORDER BY id",
        (generation_id,),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def finish_requests(conn: Connection, generation_id: UUID, state: str) -> None:
    """Close the regeneration requests that a generation answered."""
    await finish_requests_of(conn, [generation_id], state)


async def finish_requests_of(conn: Connection, generation_ids: Sequence[UUID], state: str) -> None:
    """Close the regeneration requests that generations answered."""
    await conn.execute(
        "UPDATE regeneration_requests SET state = %s, finished_at = now()"
        " WHERE generation_id = ANY(%s) AND state = 'claimed'",
        (state, list(generation_ids)),
    )
