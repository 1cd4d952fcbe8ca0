"""Paying again for a request whose answer was lost and that nobody can look up.

The permission is data: `max_submits` above `submit_count` while the row is still `submitting`. Only
a policy or a person gives it, one submit at a time; the run that uses it has looked the lost
request up once more, and its permission to send replaces one doubt by another in one transaction.

Belongs here: those steps. Does not belong here: when they are due (`pipeline.making.reconciling`,
`pipeline.upkeep.resolve`).
"""

from typing import Literal

from scene_pipeline.database import budgets
from scene_pipeline.database.events import append_generation_event
from scene_pipeline.database.ledger import PaymentRefused, return_unsent
from scene_pipeline.database.results import mark_failed
from scene_pipeline.database.rows import GENERATION_COLUMNS, Connection, Generation
from scene_pipeline.errors import LedgerError, ProviderError

Verdict = Literal["pay_again", "not_charged", "abandon"]
"""What is decided about a lost request: send it once more, although both may be charged; take it
for never sent; or give it up and count it as spent."""


async def allow_another_submit(
    conn: Connection, generation: Generation, *, decided_by: str
) -> Generation:
    """Permit exactly one more submit of a lost request; asking twice permits no second one.

    Raises:
        LedgerError: The request is no longer in doubt.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "UPDATE generations SET max_submits = submit_count + 1, updated_at = now()"
            f" WHERE id = %s AND state = 'submitting' AND submit_count = %s"
            f" RETURNING {GENERATION_COLUMNS}",
            (generation.id, generation.submit_count),
        )
        row = await cursor.fetchone()
        if row is None:
            raise _moved(generation)
        if generation.max_submits <= generation.submit_count:
            await _tell_verdict(conn, generation, "pay_again", decided_by)
    return Generation(**row)


async def take_for_unsent(
    conn: Connection, generation: Generation, *, decided_by: str
) -> Generation:
    """Plan a lost request again because somebody knows that nothing was charged for it.

    Raises:
        LedgerError: The request is no longer in doubt.
    """
    async with conn.transaction():
        returned = await return_unsent(conn, generation)
        await conn.execute(
            "UPDATE generations SET error_code = NULL, error_message = NULL,"
            " error_next_action = NULL, error_retryable = NULL WHERE id = %s",
            (generation.id,),
        )
        await _tell_verdict(conn, generation, "not_charged", decided_by)
    return returned


async def give_up(
    conn: Connection, generation: Generation, error: ProviderError, *, decided_by: str
) -> Generation:
    """End a lost request as failed; what it may have cost counts as spent.

    Raises:
        LedgerError: The request is no longer in doubt.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "SELECT 1 FROM generations WHERE id = %s AND state = 'submitting' FOR UPDATE",
            (generation.id,),
        )
        if await cursor.fetchone() is None:
            raise _moved(generation)
        failed = await mark_failed(conn, generation, error, "unknown")
        await _tell_verdict(conn, generation, "abandon", decided_by)
    return failed


async def permit_another_payment(
    conn: Connection, generation: Generation, caps: list[budgets.Cap], run_id: str
) -> Generation | PaymentRefused:
    """Count the lost submit as spent, reserve for the next one, and permit it: all or nothing.

    As with `ledger.permit_payment`, the request may be sent once this has returned a generation and
    its transaction is committed. The row stays `submitting` throughout, so that a crash at any
    moment leaves a request that is looked up, never one that is sent without looking.

    Raises:
        LedgerError: Another worker moved the row, or nobody permitted another submit.
    """
    async with conn.transaction() as transaction:
        cursor = await conn.execute(
            "UPDATE generations SET submit_count = submit_count + 1,"
            " doubtful_submits = doubtful_submits + 1,"
            " doubtful_micros = doubtful_micros + estimated_micros,"
            " doubtful_since = coalesce(doubtful_since, submitting_at),"
            " submitting_at = now(), run_id = %s, error_code = NULL, error_message = NULL,"
            " error_next_action = NULL, error_retryable = NULL,"
            " take_up_at = now() + interval '15 seconds', updated_at = now()"
            " WHERE id = %s AND state = 'submitting' AND submit_count = %s"
            f" AND submit_count < max_submits RETURNING {GENERATION_COLUMNS}",
            (run_id, generation.id, generation.submit_count),
        )
        row = await cursor.fetchone()
        if row is None:
            raise _moved(generation)
        await budgets.settle(conn, generation.id, generation.estimated_micros)
        refused = await budgets.reserve(conn, generation.id, generation.estimated_micros, caps)
        if refused is None:
            await append_generation_event(
                conn,
                generation,
                "generation_paid_again",
                run_id=run_id,
                data={"counted_as_spent_micros": generation.estimated_micros},
            )
            return Generation(**row)
        transaction.force_rollback = True
    return PaymentRefused(refused)


async def _tell_verdict(
    conn: Connection, generation: Generation, verdict: Verdict, decided_by: str
) -> None:
    sent_at = generation.submitting_at
    await append_generation_event(
        conn,
        generation,
        "submit_resolved",
        data={
            "verdict": verdict,
            "decided_by": decided_by,
            "sent_at": sent_at.isoformat() if sent_at else None,
            "amount_micros": generation.estimated_micros,
        },
    )


def _moved(generation: Generation) -> LedgerError:
    message = (
        f"The request of scene {generation.scene_id} is no longer in doubt: somebody decided about"
        " it, or it was found."
    )
    return LedgerError(message, retryable=True)
