"""Sending a request that is paid for: permission first, then one POST, then the request id.

The permission to pay is committed before the request is sent, and the request id before anything
else happens. A crash between any two steps leaves a row that says how far it came.

Belongs here: one submit. Does not belong here: what follows from it (`pipeline.making.generate`).
"""

from collections.abc import Mapping
from typing import Final

from scene_pipeline.database import ambiguity, generations, intentions, ledger, results
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import (
    AGAIN,
    AmbiguousSubmitError,
    BlockedError,
    BudgetError,
    LedgerError,
    SceneError,
)
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.provider_request import complete_request
from scene_pipeline.pipeline.making.cancellation import raise_if_cancelled
from scene_pipeline.pipeline.making.run_context import RunContext
from scene_pipeline.pipeline.making.slots import PlaceAtProvider
from scene_pipeline.pipeline.references.checking import refuse_changed
from scene_pipeline.providers.base import ImageProvider, ImageRequest, Submission
from scene_pipeline.telemetry.stages import stage

SCENE_CHANGED: Final = "scene_changed"
"""Code of a scene that is not what it was when its picture was planned."""


async def submit(
    context: RunContext,
    provider: ImageProvider,
    generation: Generation,
    place: PlaceAtProvider,
) -> Generation:
    """Pay, for the first time or where another submit of a lost request is permitted.

    Raises:
        AmbiguousSubmitError: Another submit is permitted, but of what nobody wants any more.
        BlockedError: A cap, an unknown price or a full provider stand in the way; nothing was sent.
        LedgerError: Another worker moved the row, or the lock is lost; nothing was sent.
        ProviderError: It was refused, or whether it was accepted is unknown.
        SceneError: A reference picture cannot be had; nothing was sent.
    """
    services = context.services
    _refuse_unknown_price(context, provider, generation)
    await place.take()
    is_first = generation.state == "planned"
    permit = ledger.permit_payment if is_first else ambiguity.permit_another_payment
    async with context.submits:
        if provider.name in context.stopped_by:
            raise context.stopped_by[provider.name]
        request = await _complete(context, generation)
        raise_if_cancelled()
        async with services.pool.connection() as conn:
            _refuse_unwanted(generation, await intentions.why_unwanted(conn, generation))
            await refuse_changed(conn, generation)
            permitted = await permit(
                conn, generation, context.caps(generation), context.order.run_id
            )
        if isinstance(permitted, ledger.PaymentRefused):
            if permitted.budget.scope == "run":
                # A cap that a person set for this very run: no other run exceeds it unasked.
                async with services.pool.connection() as conn:
                    await intentions.wait_for_a_person(conn, generation.id)
            raise _budget_error(generation, permitted)
        failpoint("after_permit")
        # The last question before the request leaves: is it still ours to send?
        await context.locks.assert_held(generation.id)
        failpoint("before_post")
        with stage("submit", provider=provider.name, model=generation.endpoint) as told:
            submission = await services.call(provider.submit, request)
            told.note(request_id=submission.request_id)
        failpoint("after_post")
        submitted = await persist(context, permitted, submission)
    failpoint("after_submitted")
    return submitted


async def _complete(context: RunContext, generation: Generation) -> ImageRequest:
    """What is sent, reference pictures and all; in memory for as few scenes as submit at once."""
    try:
        return await complete_request(context.services, generation)
    except SceneError as error:
        await note(context, generation, error)
        if generation.state == "planned":
            raise
        # A lost request is not unsent because its repetition could not be built.
        raise BlockedError(
            error.message, code=error.error_code, next_action=error.next_action, retryable=True
        ) from error


async def persist(
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
        known = await reread(context, generation)
        if known.request_id != submission.request_id:
            raise
        return known


async def note(context: RunContext, generation: Generation, error: SceneError) -> None:
    """Keep the reason why a generation stays open."""
    async with context.services.pool.connection() as conn:
        await results.note_error(conn, generation, error)


async def reread(context: RunContext, generation: Generation) -> Generation:
    """The row as it is now."""
    async with context.services.pool.connection() as conn:
        return await generations.get_generation(conn, generation.id)


_UNWANTED: Mapping[intentions.Unwanted, str] = {
    "removed": "was removed from the document",
    "edited": "was edited",
    "locked": "was locked",
    "archived": "was archived with its project",
}


def _refuse_unwanted(generation: Generation, reason: intentions.Unwanted | None) -> None:
    if reason is None:
        return
    if generation.state != "planned":  # no run of the new words can know what became of it
        raise AmbiguousSubmitError(
            f"Scene {generation.scene_id} {_UNWANTED[reason]} after a request for it was lost: that"
            " one may have been paid, and is not paid again for what nobody wants any more.",
            next_action="Give it up with `scene-pipeline resolve PROJECT SCENE --abandon`: what it"
            f" may have cost counts as spent. Then make what the document says now with {AGAIN}.",
        )
    raise BlockedError(
        f"Scene {generation.scene_id} {_UNWANTED[reason]} before its picture was asked for;"
        " nothing was paid.",
        code=SCENE_CHANGED,
        next_action=f"Make a frame for what the document says now with {AGAIN}.",
        retryable=True,
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
