"""What comes of a request in the ledger: its result, its stored picture, its failure.

Belongs here: the steps after a submit, each a compare-and-set like all of the ledger's. Does not
belong here: permission to pay (`ledger`), recording versions (`recording`).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from scene_pipeline.database import budgets
from scene_pipeline.database.events import append_generation_event
from scene_pipeline.database.generations import with_names
from scene_pipeline.database.ledger import move
from scene_pipeline.database.objects import mark_present
from scene_pipeline.database.requests import finish_requests
from scene_pipeline.database.rows import OPEN, Connection, Generation
from scene_pipeline.errors import ChargeVerdict, ProviderError, SceneError


async def mark_completed(
    conn: Connection,
    generation: Generation,
    *,
    result: Mapping[str, Any],
    billable_units: Decimal | None,
    cost_micros: int,
    cost_kind: str,
) -> Generation:
    """Persist the result before anything is downloaded, and turn the reservation into spending."""
    async with conn.transaction():
        moved = await move(
            conn,
            generation,
            ("submitted",),
            "state = 'completed', result = %(result)s, billable_units = %(units)s,"
            " cost_micros = %(cost)s, cost_kind = %(kind)s, completed_at = now(),"
            " error_code = NULL, error_message = NULL, error_next_action = NULL",
            {
                "result": Jsonb(dict(result)),
                "units": billable_units,
                "cost": cost_micros,
                "kind": cost_kind,
            },
        )
        await budgets.settle(conn, generation.id, cost_micros)
        await append_generation_event(
            conn,
            moved,
            "generation_complete",
            data={"cost_micros": cost_micros, "cost_kind": cost_kind},
        )
    return moved


async def mark_stored(
    conn: Connection,
    generation: Generation,
    *,
    storage_key: str,
    image: Mapping[str, Any],
    thumbnail: bytes | None,
) -> Generation:
    """The checked picture is in the store: `completed -> stored`, with its object present.

    Raises:
        LedgerError: The row moved, or the object was collected meanwhile ("object_collected").
    """
    async with conn.transaction():
        await mark_present(conn, storage_key)
        return await move(
            conn,
            generation,
            ("completed",),
            "state = 'stored', storage_key = %(key)s, image = %(image)s,"
            " thumbnail = %(thumbnail)s, stored_at = now()",
            {"key": storage_key, "image": Jsonb(dict(image)), "thumbnail": thumbnail},
        )


async def store_again(conn: Connection, generation: Generation) -> Generation:
    """`stored -> completed`, where an object was collected before it was recorded.

    Candidates that are still there are found in the store again by their keys.
    """
    async with conn.transaction():
        await conn.execute(
            "DELETE FROM generation_images WHERE generation_id = %s", (generation.id,)
        )
        return await move(
            conn,
            generation,
            ("stored",),
            "state = 'completed', storage_key = NULL, image = NULL, thumbnail = NULL,"
            " stored_at = NULL",
            {},
        )


async def note_error(conn: Connection, generation: Generation, error: SceneError) -> None:
    """Keep the last error of a generation that stays open, so that every door can show it.

    In a transaction of its own: the caller mostly raises the error next, which would undo it.
    """
    async with conn.transaction():
        await conn.execute(
            "UPDATE generations SET error_code = %s, error_message = %s, error_next_action = %s,"
            f" error_retryable = %s, updated_at = now() WHERE id = %s AND {OPEN}",
            (
                error.error_code,
                error.message,
                await with_names(conn, generation, error.next_action),
                error.retryable,
                generation.id,
            ),
        )


async def mark_failed(
    conn: Connection, generation: Generation, error: SceneError, charge: ChargeVerdict
) -> Generation:
    """End a generation as failed; money that is proven unspent goes back to its budgets.

    Before a result there is only the estimate to go by, and what may have been charged is counted
    as spent: a cap must never be overrun by a doubt.
    """
    async with conn.transaction():
        unsettled = generation.cost_micros is None
        cost = 0 if charge == "not_charged" else generation.estimated_micros
        moved = await move(
            conn,
            generation,
            ("planned", "submitting", "submitted", "completed", "stored", "recorded"),
            "state = 'failed', error_code = %(code)s, error_message = %(message)s,"
            " error_next_action = %(action)s, error_retryable = %(retryable)s,"
            " error_charge = %(charge)s, flagged_input = %(flagged)s, finished_at = now(),"
            " cost_micros = CASE WHEN %(unsettled)s AND submit_count > 0 THEN %(cost)s"
            " ELSE cost_micros END,"
            " cost_kind = CASE WHEN %(unsettled)s AND submit_count > 0 THEN 'estimated'"
            " ELSE cost_kind END",
            {
                "code": error.error_code,
                "message": error.message,
                "action": await with_names(conn, generation, error.next_action),
                "retryable": error.retryable,
                "charge": charge,
                "flagged": error.flagged_input if isinstance(error, ProviderError) else None,
                "unsettled": unsettled,
                "cost": cost,
            },
        )
        await budgets.settle(conn, generation.id, cost)
        await finish_requests(conn, generation.id, "failed")
        await append_generation_event(
            conn, moved, "generation_failed", data={"code": error.error_code}
        )
    return moved
