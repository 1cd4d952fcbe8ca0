"""The ledger: one row of `generations` is one thing worth paying for.

Every step is a compare-and-set on the state it expects; zero rows means that somebody else did it,
told as `LedgerError`. `permit_payment` is the one place that permits a payment, and its transaction
must be committed before anything is sent to a provider.

Belongs here: permission and submission. Does not belong here: what comes of a request (`results`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.errors import UniqueViolation

from scene_pipeline.database import budgets
from scene_pipeline.database.events import append_generation_event
from scene_pipeline.database.rows import (
    GENERATION_COLUMNS,
    Connection,
    Generation,
    GenerationState,
)
from scene_pipeline.errors import LedgerError


async def move(
    conn: Connection,
    generation: Generation,
    expected: tuple[GenerationState, ...],
    assignments: LiteralString,
    values: Mapping[str, Any],
) -> Generation:
    """Change a row that is in an expected state, inside the caller's transaction.

    Args:
        conn: Of the caller.
        generation: Which row.
        expected: The states that the step may begin from.
        assignments: Of the UPDATE.
        values: For its placeholders.

    Raises:
        LedgerError: It is in another state: somebody else moved it.
    """
    cursor = await conn.execute(
        f"UPDATE generations SET {assignments}, updated_at = now()"
        f" WHERE id = %(id)s AND state = ANY(%(expected)s) RETURNING {GENERATION_COLUMNS}",
        {**values, "id": generation.id, "expected": list(expected)},
    )
    row = await cursor.fetchone()
    if row is None:
        message = (
            f"Generation {generation.id} of scene {generation.scene_id} is no longer"
            f" {' or '.join(expected)}: another worker moved it."
        )
        raise LedgerError(message, retryable=True)
    return Generation(**row)


@dataclass(frozen=True, slots=True)
class PaymentRefused:
    """A budget that the payment does not fit; nothing was changed."""

    budget: budgets.BudgetState


async def permit_payment(
    conn: Connection, generation: Generation, caps: list[budgets.Cap], run_id: str
) -> Generation | PaymentRefused:
    """Reserve the estimate and move `planned -> submitting`, in one transaction of its own.

    Only when this has returned a generation, and its transaction is committed, may the request be
    sent.

    Raises:
        LedgerError: Another worker moved the row, or it was submitted as often as is allowed.
    """
    async with conn.transaction() as transaction:
        cursor = await conn.execute(
            "UPDATE generations SET state = 'submitting', submitting_at = now(), run_id = %s,"
            " submit_count = submit_count + 1, error_code = NULL, error_message = NULL,"
            " error_next_action = NULL, error_retryable = NULL, error_charge = NULL,"
            # However long it waited until now: a result can expire within minutes.
            " take_up_at = now() + interval '15 seconds', updated_at = now()"
            f" WHERE id = %s AND state = 'planned' AND submit_count < max_submits"
            f" RETURNING {GENERATION_COLUMNS}",
            (run_id, generation.id),
        )
        row = await cursor.fetchone()
        if row is None:
            message = f"Generation {generation.id} may not be submitted (again)."
            raise LedgerError(message, retryable=True)
        permitted = Generation(**row)  # its price may be newer than the caller's
        refused = await budgets.reserve(conn, generation.id, permitted.estimated_micros, caps)
        if refused is None:
            await append_generation_event(conn, generation, "generation_started", run_id=run_id)
            return permitted
        transaction.force_rollback = True
    return PaymentRefused(refused)


async def mark_submitted(
    conn: Connection,
    generation: Generation,
    *,
    request_id: str,
    status_url: str | None,
    response_url: str | None,
    cancel_url: str | None,
) -> Generation:
    """Persist the provider's request id and addresses: `submitting -> submitted`."""
    return await move(
        conn,
        generation,
        ("submitting",),
        # A permission to pay again that was not used ends here.
        "state = 'submitted', max_submits = submit_count, take_up_attempts = 0,"
        " request_id = %(request_id)s, status_url = %(status_url)s,"
        " response_url = %(response_url)s, cancel_url = %(cancel_url)s, submitted_at = now(),"
        " error_code = NULL, error_message = NULL, error_next_action = NULL,"
        " error_retryable = NULL, error_charge = NULL",
        {
            "request_id": request_id,
            "status_url": status_url,
            "response_url": response_url,
            "cancel_url": cancel_url,
        },
    )


async def return_unsent(conn: Connection, generation: Generation) -> Generation:
    """`submitting -> planned` after proof that nothing was accepted; gives the reservation back."""
    async with conn.transaction():
        moved = await move(
            conn,
            generation,
            ("submitting",),
            "state = 'planned', submit_count = submit_count - 1, max_submits = submit_count,"
            # A service that refuses again and again is asked ever more rarely, up to 16 minutes.
            " take_up_at = now() + interval '15 seconds' * 2 ^ least(take_up_attempts, 6),"
            " submitting_at = NULL",
            {},
        )
        await budgets.settle(conn, generation.id, 0)
    return moved


async def allow_resubmit(conn: Connection, generation: Generation) -> Generation:
    """Plan a finished generation again that was never charged for, or that somebody asked for.

    From now on it is the scene's newest, since it is asked for now, and what asked for it is open
    again.

    Raises:
        LedgerError: Another worker planned it, or another one of the scene, at this instant.
    """
    try:
        async with conn.transaction():
            await conn.execute(
                "UPDATE regeneration_requests SET state = 'claimed', finished_at = NULL"
                " WHERE generation_id = %s AND state = 'failed'",
                (generation.id,),
            )
            await conn.execute(
                "DELETE FROM generation_images WHERE generation_id = %s", (generation.id,)
            )
            return await move(
                conn,
                generation,
                ("failed", "abandoned"),
                "seq = DEFAULT, state = 'planned', max_submits = submit_count + 1,"
                " request_id = NULL, status_url = NULL, response_url = NULL, cancel_url = NULL,"
                " result = NULL, flagged_input = NULL, finished_at = NULL, submitting_at = NULL,"
                " submitted_at = NULL, cost_micros = NULL, cost_kind = NULL",
                {},
            )
    except UniqueViolation as error:
        message = f"Scene {generation.scene_id} has another open generation by now."
        raise LedgerError(message, retryable=True) from error
