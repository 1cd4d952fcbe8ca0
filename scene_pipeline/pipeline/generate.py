"""The paid step: from a planned generation to a persisted result.

The order of commits is the promise. The permission to pay is committed before the request is sent;
the request id before the first poll; the result before anything is downloaded. A crash between any
two of them resumes from the row. A submit whose answer was lost is looked up in the provider's
history and never blindly repeated.

Belongs here: when to submit, poll, look up and give up. Does not belong here: what is on the wire
(`providers`) and how rows change (`database.ledger`).
"""

from decimal import Decimal
from typing import Any

from scene_pipeline.database import ambiguity, generations, ledger
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
from scene_pipeline.pipeline.reconciling import Found, NeverSent, PayAgain, look_up
from scene_pipeline.pipeline.retrying import backoff_seconds, with_retries
from scene_pipeline.pipeline.run_context import (
    RunContext,
    SceneVoice,
    database_age_seconds,
    image_request,
    submission_of,
)
from scene_pipeline.providers.base import GenerationResult, ImageProvider, Submission
from scene_pipeline.providers.prices import metered_cost_micros

RESULT_ATTEMPTS = 5
"""How often one run reads a finished request's result before it leaves it to the next run."""
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
                fresh = await _reread(context, generation)
                if fresh.submit_count == generation.submit_count:
                    raise
                generation = fresh  # it was just sent: look it up
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
    """Pay, for the first time or where another submit of a lost request is permitted."""
    services = context.services
    _refuse_unknown_price(context, provider, generation)
    is_first = generation.state == "planned"
    permit = ledger.permit_payment if is_first else ambiguity.permit_another_payment
    async with context.submits:
        if context.stopped_by is not None:
            raise context.stopped_by
        async with services.pool.connection() as conn:
            permitted = await permit(
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
    """Keep the request id: tried again through a restart, since it is paid for by now."""

    async def write() -> Generation:
        async with context.services.pool.connection() as conn:
            return await ledger.mark_submitted(
                conn,
                generation,
                request_id=submission.request_id,
                status_url=submission.status_url,
                response_url=submission.response_url,
                cancel_url=submission.cancel_url,
            )

    try:
        return await context.database.carry_out(write)
    except LedgerError:
        # The answer of an earlier COMMIT may have been lost.
        known = await _reread(context, generation)
        if known.request_id != submission.request_id:
            raise
        return known


def _refuse_unknown_price(
    context: RunContext, provider: ImageProvider, generation: Generation
) -> None:
    known = provider.capabilities.is_free or generation.unit_price_usd is not None
    if not known and not context.services.settings.allow_unknown_price:
        message = f"The price of {generation.endpoint} is unknown, so no cap could hold it."
        raise BudgetError(
            message,
            code="price_unknown",
            next_action="Ask for it with `scene-pipeline prices --refresh`, choose a model of"
            " `scene-pipeline prices`, or set SCENE_PIPELINE_ALLOW_UNKNOWN_PRICE=true.",
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
    """Go on with a request whose answer never came, as far as is known what became of it."""
    if provider.capabilities.is_free:
        async with context.services.pool.connection() as conn:
            return await ledger.return_unsent(conn, generation)
    match await look_up(context, provider, generation, voice):
        case Found(submission):
            return await _persist(context, generation, submission)
        case NeverSent(planned):
            return planned
        case PayAgain(doubtful):
            return await _submit(context, provider, doubtful)


async def _collect(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Generation:
    services = context.services
    submission = submission_of(generation)
    request = image_request(generation)
    age_seconds = await database_age_seconds(
        context, generation.submitted_at or generation.created_at
    )
    await wait_until_completed(
        context, provider, request, submission, age_seconds=age_seconds, voice=voice
    )

    async def read_result() -> GenerationResult:
        async with context.polls:
            return await services.call(provider.fetch_result, request, submission)

    result = await with_retries(read_result, attempts=RESULT_ATTEMPTS, sleep=services.sleep)
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
        return await generations.get_generation(conn, generation.id)
