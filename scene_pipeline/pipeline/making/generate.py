"""The paid step: from a planned generation to a persisted result.

The order of commits is the promise. The permission to pay is committed before the request is sent;
the request id before the first poll; the result before anything is downloaded. A crash between any
two of them resumes from the row. A submit whose answer was lost is looked up in the provider's
history and never blindly repeated.

Belongs here: when to submit, poll and look up. Does not belong here: one submit
(`pipeline.making.submitting`), what follows from an error (`pipeline.making.refusals`), what is on
the wire (`providers`), how rows change (`database.ledger`).
"""

from decimal import Decimal
from typing import Any

from scene_pipeline.database import ledger, results
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import (
    AmbiguousSubmitError,
    BlockedError,
    ConfigurationError,
    FetchError,
    ImageError,
    ProviderError,
)
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.provider_request import image_request, submission_of
from scene_pipeline.pipeline.making.continuity import settle
from scene_pipeline.pipeline.making.falling_back import fall_back
from scene_pipeline.pipeline.making.polling import wait_until_completed
from scene_pipeline.pipeline.making.reconciling import Found, NeverSent, PayAgain, look_up
from scene_pipeline.pipeline.making.refusals import after_refusal, left_to_others
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice, database_age_seconds
from scene_pipeline.pipeline.making.slots import PlaceAtProvider
from scene_pipeline.pipeline.making.submitting import note, persist, reread, submit
from scene_pipeline.pipeline.planning import chains
from scene_pipeline.pipeline.retrying import backoff_seconds, with_retries
from scene_pipeline.providers.base import GenerationResult, ImageProvider
from scene_pipeline.providers.prices import metered_cost_micros
from scene_pipeline.telemetry.stages import stage

RESULT_ATTEMPTS = 5
"""How often one run reads a finished request's result before it leaves it to the next run."""


async def generate(context: RunContext, generation: Generation, voice: SceneVoice) -> Generation:
    """Bring a generation to `completed`, paying at most once.

    The caller holds the generation's lock.

    Raises:
        BlockedError: A cap, the scene before it, or all places at the provider being taken stand in
            the way; the row stays planned.
        AmbiguousSubmitError: Whether it was accepted is still unknown; the row stays submitting.
        ProviderError: It failed; the row says whether for good.
        LedgerError: Another worker moved the row, or the lock is lost.
    """
    provider = await _provider_of(context, generation)
    failures = 0
    if generation.state == "planned":
        generation = await _prepare(context, provider, generation, voice)
    async with context.in_flight, PlaceAtProvider(context, provider.name, voice) as place:
        while generation.state in ("planned", "submitting", "submitted"):
            try:
                generation = await _advance(context, provider, generation, voice, place)
            except AmbiguousSubmitError as error:
                await note(context, generation, error)
                fresh = await reread(context, generation)
                if fresh.submit_count == generation.submit_count:
                    raise
                generation = fresh  # it was just sent: look it up
            except ProviderError as error:
                failures += 1
                generation = await after_refusal(context, generation, error, failures, voice)
                await voice.progress("waiting", error.message)
                await context.services.sleep(backoff_seconds(failures, error))
            except BlockedError as error:
                await note(context, generation, error)
                raise
    return generation


async def _provider_of(context: RunContext, generation: Generation) -> ImageProvider:
    try:
        return context.services.provider(generation.provider)
    except ConfigurationError as error:  # its key is missing: a person is told
        blocked = BlockedError(error.message, code=error.error_code, next_action=error.next_action)
        raise await left_to_others(context, generation, blocked) from error


async def _prepare(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Generation:
    """Settle what is to be sent, before it takes anybody's place."""
    if generation.rung > 0:
        async with context.services.pool.connection() as conn:
            generation = await chains.reprice(context.services, conn, generation)
    try:
        return await settle(context, provider, generation, voice)
    except BlockedError as error:
        raise await left_to_others(context, generation, error) from error
    except (FetchError, ImageError, ProviderError) as error:
        # A picture that the request names: for good, or to be tried again, and nothing was sent.
        if error.retryable:
            await note(context, generation, error)
        elif (await fall_back(context, generation, error)).planned is None:
            async with context.services.pool.connection() as conn:
                await results.mark_failed(conn, generation, error, "not_charged")
        raise


async def _advance(
    context: RunContext,
    provider: ImageProvider,
    generation: Generation,
    voice: SceneVoice,
    place: PlaceAtProvider,
) -> Generation:
    if generation.state == "planned":
        return await submit(context, provider, generation, place)
    if generation.state == "submitting":
        return await _reconcile(context, provider, generation, voice, place)
    await place.take_if_free()
    return await _collect(context, provider, generation, voice)


async def _reconcile(
    context: RunContext,
    provider: ImageProvider,
    generation: Generation,
    voice: SceneVoice,
    place: PlaceAtProvider,
) -> Generation:
    """Go on with a request whose answer never came, as far as is known what became of it."""
    if provider.capabilities.is_free:
        async with context.services.pool.connection() as conn:
            return await ledger.return_unsent(conn, generation)
    match await look_up(context, provider, generation, voice):
        case Found(submission):
            return await persist(context, generation, submission)
        case NeverSent(planned):
            return planned
        case PayAgain(doubtful):
            return await submit(context, provider, doubtful, place)


async def _collect(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Generation:
    services = context.services
    submission = submission_of(generation)
    request = image_request(generation)
    age_seconds = await database_age_seconds(
        context, generation.submitted_at or generation.created_at
    )

    async def read_result() -> GenerationResult:
        async with context.polls:
            return await services.call(provider.fetch_result, request, submission)

    with stage("poll", provider=provider.name, model=generation.endpoint):
        await wait_until_completed(
            context, provider, request, submission, age_seconds=age_seconds, voice=voice
        )
        result = await with_retries(read_result, attempts=RESULT_ATTEMPTS, sleep=services.sleep)
    failpoint("after_result")
    cost_micros, cost_kind = _cost(provider, generation, result)
    async with services.pool.connection() as conn:
        completed = await results.mark_completed(
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
