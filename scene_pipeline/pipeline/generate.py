"""The paid step: from a planned generation to a persisted result.

The order of commits is the promise. The permission to pay is committed before the request is sent;
the request id before the first poll; the result before anything is downloaded. A crash between any
two of them resumes from the row. A submit whose answer was lost is looked up in the provider's
history and never blindly repeated.

Belongs here: when to submit, poll, look up and give up. Does not belong here: what is on the wire
(`providers`) and how rows change (`database.ledger`).
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from scene_pipeline.database import ledger
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import (
    AmbiguousSubmitError,
    BudgetError,
    LedgerError,
    ProviderError,
    SceneError,
)
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.polling import wait_until_completed
from scene_pipeline.pipeline.retrying import backoff_seconds
from scene_pipeline.pipeline.run_context import RunContext, SceneVoice, image_request
from scene_pipeline.providers.base import GenerationResult, ImageProvider, Submission
from scene_pipeline.providers.prices import metered_cost_micros

MAX_UNCHARGED_ATTEMPTS = 3
"""How often one run submits again after errors that prove nothing was charged."""


async def generate(context: RunContext, generation: Generation, voice: SceneVoice) -> Generation:
    """Bring a generation to `completed`, paying at most once.

    The caller holds the generation's lock.

    Raises:
        BudgetError: A cap stands in the way; the row stays planned.
        AmbiguousSubmitError: Whether it was accepted is still unknown; the row stays submitting.
        ProviderError: It failed; the row says whether for good.
        LedgerError: Another worker moved the row, or the lock is lost.
    """
    provider = context.services.provider(generation.provider)
    failures = 0
    async with context.in_flight:
        while generation.state in ("planned", "submitting", "submitted"):
            try:
                generation = await _advance(context, provider, generation, voice)
            except AmbiguousSubmitError as error:
                await _note(context, generation, error)
                if generation.state == "submitting":
                    raise
                generation = await _reread(context, generation)
            except ProviderError as error:
                failures += 1
                generation = await _after_refusal(context, generation, error, failures)
                await voice.progress("waiting", error.message)
                await context.services.sleep(backoff_seconds(failures, error))
            except BudgetError as error:
                await _note(context, generation, error)
                raise
    return generation


async def _advance(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Generation:
    if generation.state == "planned":
        return await _submit(context, provider, generation)
    if generation.state == "submitting":
        return await _reconcile(context, provider, generation, voice)
    return await _collect(context, provider, generation, voice)


async def _submit(
    context: RunContext, provider: ImageProvider, generation: Generation
) -> Generation:
    services = context.services
    _refuse_unknown_price(context, provider, generation)
    async with context.submits:
        if context.stopped_by is not None:
            raise context.stopped_by
        async with services.pool.connection() as conn:
            permitted = await ledger.permit_payment(
                conn, generation, context.caps(generation), context.order.run_id
            )
        if isinstance(permitted, ledger.PaymentRefused):
            raise _budget_error(generation, permitted)
        failpoint("after_permit")
        # The last question before the request leaves: is it still ours to send?
        await context.locks.assert_held(generation.id)
        failpoint("before_post")
        submission = await services.call(provider.submit, image_request(permitted))
        failpoint("after_post")
        submitted = await _persist(context, permitted, submission)
    failpoint("after_submitted")
    return submitted


async def _persist(
    context: RunContext, generation: Generation, submission: Submission
) -> Generation:
    async with context.services.pool.connection() as conn:
        return await ledger.mark_submitted(
            conn,
            generation,
            request_id=submission.request_id,
            status_url=submission.status_url,
            response_url=submission.response_url,
            cancel_url=submission.cancel_url,
        )


def _refuse_unknown_price(
    context: RunContext, provider: ImageProvider, generation: Generation
) -> None:
    known = provider.capabilities.is_free or generation.unit_price_usd is not None
    if not known and not context.services.settings.allow_unknown_price:
        message = f"The price of {generation.endpoint} is unknown, so no cap could hold it."
        raise BudgetError(
            message,
            code="price_unknown",
            next_action="Choose a model of the price table, or set"
            " SCENE_PIPELINE_ALLOW_UNKNOWN_PRICE=true.",
        )


def _budget_error(generation: Generation, refused: ledger.PaymentRefused) -> BudgetError:
    budget = refused.budget
    scope = {"run": "this run", "project": "the project", "day": f"the day {budget.period}"}
    message = (
        f"Scene {generation.scene_id} would cost about {usd(generation.estimated_micros):.4f} USD,"
        f" but the cap of {scope[budget.scope]} is {usd(budget.cap_micros):.2f} USD, of which"
        f" {usd(budget.spent_micros):.4f} is spent and {usd(budget.reserved_micros):.4f} reserved."
    )
    return BudgetError(message)


async def _reconcile(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Generation:
    """Find out what became of a request whose answer never came.

    Absence counts as a proof only after the provider's history had time to show the request: until
    then it is asked again, with growing pauses.
    """
    services = context.services
    if provider.capabilities.is_free:
        async with services.pool.connection() as conn:
            return await ledger.return_unsent(conn, generation)
    settle_seconds = services.settings.ambiguous_settle_seconds
    asked = 0
    while True:
        asked += 1
        submitting_at = generation.submitting_at or generation.created_at
        age_seconds = await _database_age(context, submitting_at)
        lost = await services.call(provider.find_lost, image_request(generation), submitting_at)
        if lost.verdict == "found" and lost.submission is not None:
            return await _persist(context, generation, lost.submission)
        if age_seconds >= settle_seconds:
            if lost.verdict == "absent":
                async with services.pool.connection() as conn:
                    return await ledger.return_unsent(conn, generation)
            message = (
                f"Whether {provider.name} accepted the request for scene {generation.scene_id} is"
                " unknown: its history cannot be read."
            )
            raise AmbiguousSubmitError(message)
        await voice.progress("waiting", f"looking for a lost request in {provider.name}'s history")
        pause = min(backoff_seconds(asked), 15.0, max(0.2, settle_seconds - age_seconds))
        await services.sleep(pause)


async def _database_age(context: RunContext, moment: datetime) -> float:
    """Seconds since a moment of the database's clock, by that same clock."""
    async with context.services.pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT extract(epoch FROM clock_timestamp() - %s)::float8 AS age", (moment,)
        )
        row = await cursor.fetchone()
    return float(row["age"]) if row else 0.0


async def _collect(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Generation:
    services = context.services
    submission = submission_of(generation)
    request = image_request(generation)
    age_seconds = await _database_age(context, generation.submitted_at or generation.created_at)
    await wait_until_completed(
        context, provider, request, submission, age_seconds=age_seconds, voice=voice
    )
    async with context.polls:
        result = await services.call(provider.fetch_result, request, submission)
    failpoint("after_result")
    cost_micros, cost_kind = _cost(provider, generation, result)
    async with services.pool.connection() as conn:
        completed = await ledger.mark_completed(
            conn,
            generation,
            result=result_record(result),
            billable_units=None
            if result.billable_units is None
            else Decimal(str(result.billable_units)),
            cost_micros=cost_micros,
            cost_kind=cost_kind,
        )
    failpoint("after_completed")
    return completed


def submission_of(generation: Generation) -> Submission:
    """The provider's handle on a request, as it was persisted.

    Raises:
        LedgerError: The row has no request id, so it was never submitted.
    """
    if generation.request_id is None:
        message = f"Generation {generation.id} was never submitted."
        raise LedgerError(message)
    return Submission(
        request_id=generation.request_id,
        status_url=generation.status_url,
        response_url=generation.response_url,
        cancel_url=generation.cancel_url,
    )


def result_record(result: GenerationResult) -> dict[str, Any]:
    """What the ledger keeps of a result."""
    return {
        "images": [
            {
                "url": image.url,
                "width": image.width,
                "height": image.height,
                "content_type": image.content_type,
                "is_flagged": image.is_flagged,
            }
            for image in result.images
        ],
        "seed": result.seed,
        "raw": dict(result.raw),
    }


def _cost(
    provider: ImageProvider, generation: Generation, result: GenerationResult
) -> tuple[int, str]:
    if provider.capabilities.is_free:
        return 0, "free"
    if result.billable_units is not None and generation.unit_price_usd is not None:
        return metered_cost_micros(result.billable_units, generation.unit_price_usd), "metered"
    return generation.estimated_micros, "estimated"


async def _after_refusal(
    context: RunContext, generation: Generation, error: ProviderError, failures: int
) -> Generation:
    """Put the row where the error leaves it; return it when it is to be tried again at once.

    Raises:
        ProviderError: The same, when the scene ends here.
    """
    if error.stops_the_line:
        context.stopped_by = error
    generation = await _reread(context, generation)
    unsent = generation.state == "submitting" and error.charge == "not_charged"
    may_repeat = error.retryable and failures < MAX_UNCHARGED_ATTEMPTS
    async with context.services.pool.connection() as conn:
        if unsent and (error.retryable or error.stops_the_line):
            generation = await ledger.return_unsent(conn, generation)
            await ledger.note_error(conn, generation, error)
            if may_repeat:
                return generation
            raise error
        if generation.state == "submitted" and error.retryable and error.charge == "unknown":
            # The request goes on at the provider: the next run polls the same one again.
            await ledger.note_error(conn, generation, error)
            raise error
        if generation.is_terminal or generation.state == "planned":
            await ledger.note_error(conn, generation, error)
            raise error
        failed = await ledger.mark_failed(conn, generation, error, error.charge)
        if error.charge == "not_charged" and may_repeat:
            return await ledger.allow_resubmit(conn, failed)
    raise error


async def _note(context: RunContext, generation: Generation, error: SceneError) -> None:
    async with context.services.pool.connection() as conn:
        await ledger.note_error(conn, generation, error)


async def _reread(context: RunContext, generation: Generation) -> Generation:
    async with context.services.pool.connection() as conn:
        return await ledger.get_generation(conn, generation.id)
