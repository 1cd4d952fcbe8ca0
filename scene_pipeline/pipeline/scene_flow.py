"""One scene from its plan to its outcome, telling each stage the moment it is committed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import psycopg

from scene_pipeline.database import generations
from scene_pipeline.database.publishing import Publication, PublicationResult
from scene_pipeline.database.rows import Generation
from scene_pipeline.database.versions import version_of_generation
from scene_pipeline.errors import (
    AmbiguousSubmitError,
    BudgetError,
    LedgerError,
    SceneError,
    ScenePipelineError,
)
from scene_pipeline.pipeline.external import external_note
from scene_pipeline.pipeline.facts import (
    database_failure,
    failure_of,
    frame_facts,
    generation_facts,
    no_frame_failure,
    usd,
)
from scene_pipeline.pipeline.generate import generate
from scene_pipeline.pipeline.kept_frame import keep
from scene_pipeline.pipeline.orders import (
    Failure,
    FrameFacts,
    SceneOutcome,
    SceneStatus,
    StageDone,
)
from scene_pipeline.pipeline.publish import Publisher
from scene_pipeline.pipeline.rehost import rehost
from scene_pipeline.pipeline.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.scene_work import SceneWork

ATTACH_POLL_SECONDS = 1.0


async def run_scene(context: RunContext, publisher: Publisher, work: SceneWork) -> None:
    """Do a scene's work and tell its outcome, whatever happens to it.

    Never raises for what befell the scene; only cancellation passes through.
    """
    try:
        # Everything under it reads where the scene stands first, so that it can be done again.
        outcome = await context.database.carry_out(lambda: _work(context, publisher, work))
    except ScenePipelineError as error:
        outcome = _failed(work, error, await _spent(context, work))
    except psycopg.Error as error:
        outcome = _failed(work, database_failure(error), usd(0))
    await context.emit(outcome)


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
    if "generated_frame" not in context.order.stages and work.generation.state in (
        "planned",
        "submitting",
        "submitted",
    ):
        return SceneOutcome(work.ref, "failed", work.current, no_frame_failure(work.ref))
    return await _make(context, publisher, work, work.generation)


async def _make(
    context: RunContext, publisher: Publisher, work: SceneWork, generation: Generation
) -> SceneOutcome:
    voice = SceneVoice(work.ref, context.emit)
    async with _lock(context, generation, voice) as locked:
        generation = locked
        is_paid_here = _is_paid_here(context, work, locked)
        if generation.state in ("planned", "submitting", "submitted"):
            generation = await generate(context, generation, voice)
        await context.tell(StageDone(work.ref, "generated_frame", generation_facts(generation)))
        if "scene_image" in context.order.stages and not generation.is_terminal:
            generation = await rehost(context, generation, voice)
        frame = await _frame(context, generation)
        cost_usd = usd(generation.cost_micros if is_paid_here else 0)
        if generation.state == "failed":
            raise SceneError(
                generation.error_message or "The picture was rejected.",
                code=generation.error_code,
                next_action=generation.error_next_action,
            )
        if frame is not None:
            note = _external_note(generation, frame)
            facts = {} if note is None else {"storage_note": note.message}
            await context.tell(StageDone(work.ref, "scene_image", facts, frame))
            if "scene_start_frame" in context.order.stages and generation.state == "recorded":
                verdict = await _publish(publisher, generation, frame)
                frame = await _frame(context, generation) or frame
                if verdict not in ("written", "already"):
                    return _superseded(work, frame, verdict, cost_usd)
            if frame.is_current:
                await context.tell(StageDone(work.ref, "scene_start_frame", {}, frame))
    if generation.state == "superseded":
        return _superseded(work, frame, "prompt_changed", cost_usd)
    note = _external_note(generation, frame)
    return SceneOutcome(work.ref, "generated", frame, note, cost_usd)


def _external_note(generation: Generation, frame: FrameFacts | None) -> Failure | None:
    if frame is None or frame.storage_status == "stored":
        return None
    return external_note(generation.scene_id, generation.provider, generation.external_expires_at)


async def _publish(
    publisher: Publisher, generation: Generation, frame: FrameFacts
) -> PublicationResult:
    return await publisher.publish(
        generation.project_id,
        Publication(
            generation_id=generation.id,
            scene_id=generation.scene_id,
            scene_prompt=generation.scene_prompt,
            url=frame.url,
            guard="prompt",
        ),
    )


@asynccontextmanager
async def _lock(
    context: RunContext, generation: Generation, voice: SceneVoice
) -> AsyncIterator[Generation]:
    """Hold the generation's lock; where another run has it, wait for what that run makes of it."""
    services = context.services
    waited = 0.0
    while not await context.locks.try_acquire(generation.id):
        await voice.progress("waiting", "another run is working on this scene")
        await services.sleep(ATTACH_POLL_SECONDS)
        waited += ATTACH_POLL_SECONDS
        if waited > services.settings.generation_timeout_seconds:
            message = f"Another run holds scene {generation.scene_id} and does not finish it."
            raise LedgerError(message, code="held_elsewhere", retryable=True)
    try:
        async with services.pool.connection() as conn:
            fresh = await generations.get_generation(conn, generation.id)
        yield fresh
    finally:
        # Shielded: a cancelled run must not leave its lock behind on a connection that lives on.
        await asyncio.shield(context.locks.release(generation.id))


async def _frame(context: RunContext, generation: Generation) -> FrameFacts | None:
    async with context.services.pool.connection() as conn:
        version = await version_of_generation(conn, generation.id)
    return frame_facts(version) if version else None


def _superseded(
    work: SceneWork, frame: FrameFacts | None, verdict: str, cost_usd: Decimal
) -> SceneOutcome:
    what = {
        "scene_gone": "was removed from the document",
        "not_current": "got a newer frame",
    }.get(verdict, "was edited")
    failure = Failure(
        code="superseded",
        message=f"Scene {work.ref.scene_id} {what} while its frame was made; the frame is kept as"
        " a version, and the document was left alone.",
        next_action="Run again to make a frame for what the document says now.",
    )
    return SceneOutcome(work.ref, "stale", frame, failure, cost_usd)


def _failed(work: SceneWork, error: ScenePipelineError, cost_usd: Decimal) -> SceneOutcome:
    status: SceneStatus = "failed"
    if isinstance(error, BudgetError):
        status = "blocked"
    elif isinstance(error, AmbiguousSubmitError):
        status = "ambiguous"
    return SceneOutcome(work.ref, status, work.current, failure_of(error), cost_usd)


def _is_paid_here(context: RunContext, work: SceneWork, locked: Generation) -> bool:
    """Whether what the generation costs is this run's: not paid before, nor by a run waited for."""
    if work.generation is None or work.generation.cost_micros is not None:
        return False
    return locked.cost_micros is None or locked.run_id == context.order.run_id


async def _spent(context: RunContext, work: SceneWork) -> Decimal:
    """What this run has spent on a scene that then failed."""
    before = work.generation
    if before is None or before.cost_micros is not None:
        return usd(0)
    try:
        async with context.services.pool.connection() as conn:
            now = await generations.get_generation(conn, before.id)
    except psycopg.Error:
        return usd(0)  # the ledger is what counts; this figure is only shown
    return usd(now.cost_micros)
