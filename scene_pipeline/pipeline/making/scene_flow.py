"""One scene from its plan to its outcome, telling each stage the moment it is committed."""

import copy
from decimal import Decimal

import psycopg

from scene_pipeline.database import generations
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import AmbiguousSubmitError, BlockedError, SceneError, ScenePipelineError
from scene_pipeline.pipeline.facts import database_failure, failure_of, no_frame_failure, usd
from scene_pipeline.pipeline.making.attempt import attempt, failed_before, spent
from scene_pipeline.pipeline.making.following_checks import FollowingChecks
from scene_pipeline.pipeline.making.kept_frame import keep
from scene_pipeline.pipeline.making.publish import Publisher
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.making.submitting import SCENE_CHANGED
from scene_pipeline.pipeline.orders import SceneOutcome, SceneStatus, StageDone
from scene_pipeline.pipeline.planning import chains, ladder
from scene_pipeline.pipeline.planning.failures import CONTENT_REJECTED
from scene_pipeline.pipeline.planning.scene_work import SceneWork
from scene_pipeline.telemetry.stages import generation_record


async def run_scene(
    context: RunContext, publisher: Publisher, checks: FollowingChecks, work: SceneWork
) -> None:
    """Do a scene's work and tell its outcome, whatever happens to it.

    Never raises for what befell the scene; only cancellation passes through.
    """
    try:
        # Everything under it reads where the scene stands first, so that it can be done again.
        outcome = await context.database.carry_out(lambda: _work(context, publisher, work))
    except ScenePipelineError as error:
        outcome = _failed(work, error, await spent(context, work))
    except psycopg.Error as error:
        outcome = _failed(work, database_failure(error), usd(0))
    context.finished.add(work.ref)
    await context.emit(outcome)
    checks.follow(work.project_id, work.ref)


async def _work(context: RunContext, publisher: Publisher, work: SceneWork) -> SceneOutcome:
    if work.action in ("failed", "invalid"):
        status: SceneStatus = "failed" if work.action == "failed" else "invalid"
        return SceneOutcome(work.ref, status, work.current, work.failure)
    await context.tell(
        StageDone(
            work.ref,
            "scene_prompt",
            {
                "expanded_prompt": work.prompt.expanded_prompt if work.prompt else None,
                "content_hash": work.content_hash,
                "reason": work.reason,
            },
            prompt=work.prompt,
        )
    )
    if work.generation is None:
        return await keep(context, publisher, work)
    if _is_not_selected(context, work.generation):
        return SceneOutcome(work.ref, "failed", work.current, no_frame_failure(work.ref))
    return await _make(context, publisher, work, work.generation)


async def _make(
    context: RunContext, publisher: Publisher, work: SceneWork, first: Generation
) -> SceneOutcome:
    """Make the frame, by the first attempt or by what follows where that one fails."""
    voice = SceneVoice(work.ref, context.emit)
    generation = first
    while True:
        try:
            with generation_record(str(generation.id)):
                return await attempt(context, publisher, work, generation, voice)
        except SceneError as error:
            following = await _rung_after(context, generation)
            if following is None or _is_not_selected(context, following):
                raise await _with_story(context, generation, error) from error
            words = ladder.rung_words(context.services.settings, following)
            await voice.progress("waiting", f"{error.message} Next: {words}.")
            # What was told of the failed attempt is told anew of the one that follows.
            context.told.discard((work.ref, "generated_frame"))
            generation = following


async def _rung_after(context: RunContext, generation: Generation) -> Generation | None:
    """What was planned in the place of an attempt that failed."""
    async with context.services.pool.connection() as conn:
        fresh = await generations.get_generation(conn, generation.id)
        return await chains.following(conn, fresh)


async def _with_story(context: RunContext, generation: Generation, error: SceneError) -> SceneError:
    """The last error of a scene, with what came of the attempts before it."""
    told = copy.copy(error)  # one error may be told of many scenes
    before = await failed_before(context, generation)
    if before and (error.error_code == CONTENT_REJECTED or generation.fallback is not None):
        story = ladder.story(context.services.settings, before)
        is_rejected = all(attempt.error_code == CONTENT_REJECTED for attempt in before)
        told.message += f" {'Rejected' if is_rejected else 'Failed'} before: {story}."
    return told


def _is_not_selected(context: RunContext, generation: Generation) -> bool:
    """Whether it would have to be paid for, in a run whose selection may not pay."""
    return "generated_frame" not in context.order.stages and generation.state in (
        "planned",
        "submitting",
        "submitted",
    )


def _failed(work: SceneWork, error: ScenePipelineError, cost_usd: Decimal) -> SceneOutcome:
    status: SceneStatus = "failed"
    if error.error_code == SCENE_CHANGED:
        status = "stale"
    elif isinstance(error, BlockedError):
        status = "blocked"
    elif isinstance(error, AmbiguousSubmitError):
        status = "ambiguous"
    return SceneOutcome(work.ref, status, work.current, failure_of(error, work.ref), cost_usd)
