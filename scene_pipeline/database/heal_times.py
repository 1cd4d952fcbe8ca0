"""When a picture that is at its provider only is to be brought home: `generations.heal_at`.

The database's clock alone is asked, and the times are rows: pauses grow across runs, whichever
process tried, and a clock that jumps elsewhere changes nothing.

Belongs here: the times. Does not belong here: healing itself (`healing`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import LiteralString
from uuid import UUID

from scene_pipeline.database.alerts import raise_alert
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import SceneError

FIRST_PAUSE_SECONDS = 30
"""How long after it was made a version is due for the first time."""
PAUSES_SECONDS = (60, 120, 300, 600, 1800)
"""How long after each failed attempt it is due again; the last one holds from then on."""
LAST_CALL_SECONDS = 600
"""A version is due in any case this long before its address expires, and then every minute."""
LOST_CODES = ("result_lost", "bytes_changed")
"""The provider no longer has the picture: tried once a day, after every other."""
_LOST_PAUSE_SECONDS = 86_400


async def due_state(conn: Connection, limit: int) -> tuple[str, int] | None:
    """A fingerprint of what is due to be healed, and how many versions that are; None for none.

    It changes with every attempt, and every half an hour, so that what was launched for it and
    never ran may be launched anew.
    """
    cursor = await conn.execute(
        "SELECT md5(string_agg(d.part, ',' ORDER BY d.part)"
        "     || floor(extract(epoch FROM now()) / 1800)::text) AS state, count(*) AS n"
        " FROM (SELECT g.id || ':' || g.heal_attempts AS part FROM generations g"
        "   JOIN scene_images i ON i.generation_id = g.id AND i.storage_status = 'external'"
        "   WHERE g.heal_at <= now()"
        "   AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = g.project_id AND p.is_scratch)"
        "   ORDER BY i.external_expires_at NULLS LAST, g.id LIMIT %(limit)s) d",
        {"limit": limit},
    )
    row = await cursor.fetchone()
    return (row["state"], row["n"]) if row and row["n"] else None


_NEXT_TRY: LiteralString = (
    # Once the address has expired only the pauses count: it may work for longer than promised.
    "least(now() + make_interval(secs => %(pause)s), CASE"
    "   WHEN e.expires_at - make_interval(secs => %(last_call)s) > now()"
    "     THEN e.expires_at - make_interval(secs => %(last_call)s)"
    "   WHEN e.expires_at > now() THEN now() + interval '1 minute' END)"
)


async def note_heal_failure(
    conn: Connection,
    generation_id: UUID,
    error: SceneError,
    *,
    attempts: int,
    expires_at: datetime | None,
) -> None:
    """Keep why a version could not be healed, count the attempt, and say when it is due again.

    Args:
        conn: Of the caller.
        generation_id: Whose picture it is. A trigger tells people once that it is lost.
        error: Why.
        attempts: How often it was tried before.
        expires_at: Until when the provider's address works; None where that is not known.
    """
    is_lost = error.error_code in LOST_CODES
    pause = PAUSES_SECONDS[min(attempts, len(PAUSES_SECONDS) - 1)]
    await conn.execute(
        "UPDATE generations g SET heal_attempts = heal_attempts + 1, heal_tried_at = now(),"
        f" heal_error_code = %(code)s, heal_error_message = %(message)s, heal_at = {_NEXT_TRY}"
        " FROM (SELECT %(expires_at)s::timestamptz AS expires_at) e WHERE g.id = %(id)s",
        {
            "code": error.error_code,
            "message": error.message,
            "pause": _LOST_PAUSE_SECONDS if is_lost else pause,
            "last_call": LAST_CALL_SECONDS,
            "expires_at": None if is_lost else expires_at,
            "id": generation_id,
        },
    )


async def postpone(conn: Connection, generation_ids: Sequence[UUID]) -> None:
    """Leave what is due alone while the store is down: due again with the first of those tried.

    Args:
        conn: Of the caller.
        generation_ids: Versions that were tried just now, and will be again.
    """
    await conn.execute(
        "UPDATE generations g SET heal_at = least(t.heal_at,"
        "   CASE WHEN g.external_expires_at > now() THEN greatest(now() + interval '1 minute',"
        "     g.external_expires_at - make_interval(secs => %(last_call)s)) END)"
        " FROM (SELECT min(heal_at) AS heal_at FROM generations"
        "       WHERE id = ANY(%(tried)s) AND heal_at > now()) t"
        " WHERE g.heal_at <= now() AND t.heal_at IS NOT NULL",
        {"tried": list(generation_ids), "last_call": LAST_CALL_SECONDS},
    )


async def tell_outage(conn: Connection, *, code: str, message: str, next_action: str) -> None:
    """Tell people that the store keeps refusing: once a day, however often it is asked."""
    today = datetime.now(UTC).date().isoformat()
    await raise_alert(
        conn,
        fingerprint=f"store_down:{code}:{today}",
        code=code,
        message=f"Pictures cannot be brought home: {message}",
        next_action=next_action,
    )


async def postpone_busy(conn: Connection, generation_id: UUID) -> None:
    """Another worker is at it: due again in a minute, should it die meanwhile."""
    await conn.execute(
        "UPDATE generations SET heal_at = now() + interval '1 minute'"
        " WHERE id = %s AND heal_at <= now()",
        (generation_id,),
    )


async def bring_forward(conn: Connection) -> None:
    """The store works again: what waits for it is due at once."""
    await conn.execute(
        "UPDATE generations SET heal_at = now() WHERE heal_at > now()"
        " AND (heal_error_code IS NULL OR NOT heal_error_code = ANY(%s))",
        (list(LOST_CODES),),
    )
