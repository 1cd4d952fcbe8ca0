"""What follows from a provider's error: another try, a fallback, the next run, or the end.

Belongs here: putting the row where the error leaves it. Does not belong here: what errors mean
(`providers`), and whether somebody else makes the frame (`pipeline.making.falling_back`).
"""

from scene_pipeline.database import ledger, results
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import BlockedError, ProviderError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.making.falling_back import fall_back, with_passed_over
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.making.submitting import note, reread
from scene_pipeline.pipeline.planning import ladder

MAX_UNCHARGED_ATTEMPTS = 3
"""How often one run submits to one model after errors that prove nothing was charged."""


async def left_to_others(
    context: RunContext, generation: Generation, error: BlockedError
) -> BlockedError:
    """Leave what is held up to a fallback, or note what holds it up; gives what is to be raised."""
    plan = await fall_back(context, generation, error)
    if plan.planned is None:
        error = with_passed_over(error, plan)
        await note(context, generation, error)
    return error


async def after_refusal(
    context: RunContext,
    generation: Generation,
    error: ProviderError,
    failures: int,
    voice: SceneVoice,
) -> Generation:
    """Put the row where the error leaves it; return it when it is to be tried again at once.

    Raises:
        ProviderError: The same, when the scene ends here.
    """
    if error.stops_the_line:
        context.stopped_by.setdefault(generation.provider, error)
    generation = await reread(context, generation)
    unsent = generation.state == "submitting" and error.charge == "not_charged"
    may_repeat = error.retryable and failures < MAX_UNCHARGED_ATTEMPTS
    if generation.state == "planned" and may_repeat and not error.stops_the_line:
        return generation  # a picture to go by could not be brought there, and may be now
    if generation.state == "planned" or not may_repeat:
        plan = await fall_back(context, generation, error)
        if plan.planned is not None:
            raise error
        error = with_passed_over(error, plan)
    async with context.services.pool.connection() as conn:
        if unsent and (error.retryable or error.stops_the_line):
            generation = await ledger.return_unsent(conn, generation)
            await results.note_error(conn, generation, error)
            if may_repeat:
                return generation
            raise error
        if generation.state == "submitted" and error.retryable and error.charge == "unknown":
            # The request goes on at the provider: the next run polls the same one again.
            await results.note_error(conn, generation, error)
            raise error
        if generation.is_terminal or generation.state == "planned":
            await results.note_error(conn, generation, error)
            raise error
        ladder.explain_reference(error, generation, voice.ref.project_key)
        async with conn.transaction():
            failed = await results.mark_failed(conn, generation, error, error.charge)
            await ladder.plan_next(context.services, conn, failed, context.order.run_id)
        failpoint("after_rung")
        if error.charge == "not_charged" and may_repeat:
            return await ledger.allow_resubmit(conn, failed)
    raise error
