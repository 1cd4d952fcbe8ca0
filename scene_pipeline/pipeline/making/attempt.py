"""One generation of a scene, from its lock to the document.

Belongs here: the stages of one attempt, told as they are committed. Does not belong here: what
follows from a rejected one, and a scene's outcome (`pipeline.making.scene_flow`).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg

from scene_pipeline.database import generations, rungs
from scene_pipeline.database.publishing import Publication, PublicationResult
from scene_pipeline.database.rows import Generation
from scene_pipeline.database.versions import version_of_generation
from scene_pipeline.errors import AGAIN, LedgerError, SceneError, named
from scene_pipeline.pipeline.facts import frame_facts, generation_facts, usd
from scene_pipeline.pipeline.frame_history import generation_history
from scene_pipeline.pipeline.keeping.external import external_note
from scene_pipeline.pipeline.making.generate import generate
from scene_pipeline.pipeline.making.histories import ToldHistory
from scene_pipeline.pipeline.making.publish import Publisher
from scene_pipeline.pipeline.making.rehost import rehost
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.orders import (
    Failure,
    FrameFacts,
    SceneOutcome,
    SceneStatus,
    StageDone,
)
from scene_pipeline.pipeline.planning import chains, ladder
from scene_pipeline.pipeline.planning.failures import CONTENT_REJECTED
from scene_pipeline.pipeline.planning.scene_work import SceneWork
from scene_pipeline.pipeline.projects.fallbacks import made_by_fallback
from scene_pipeline.telemetry.stages import stage

ATTACH_POLL_SECONDS = 1.0


async def attempt(
    context: RunContext,
    publisher: Publisher,
    work: SceneWork,
    generation: Generation,
    voice: SceneVoice,
) -> SceneOutcome:
    """Take one generation as far as the selection goes, from wherever it stands.

    Raises:
        SceneError: It failed, or something else must come first.
    """
    is_waited_for = _is_left_to_do(context, generation)  # as it stood when it was planned
    async with _lock(context, generation, voice) as locked:
        generation = locked
        if locked.cost_micros is None or locked.run_id == context.order.run_id:
            context.paid_here[work.ref].add(locked.id)
        is_kept = _is_made_by_others(context, locked)
        made_by = locked.run_id if is_kept and is_waited_for else None
        if generation.state in ("planned", "submitting", "submitted"):
            generation = await generate(context, generation, voice)
        _raise_failed(generation)
        before = await failed_before(context, generation)
        facts = generation_facts(generation) | _ladder_facts(context, generation, before)
        history = ToldHistory(context.histories)
        if context.is_untold(work.ref, "generated_frame"):
            facts |= generation_history(await history.attempts(generation))
        await context.tell(StageDone(work.ref, "generated_frame", facts, is_kept=is_kept))
        if "scene_image" in context.order.stages and not generation.is_terminal:
            generation = await rehost(context, generation, voice)
        _raise_failed(generation)
        frame = await _frame(context, generation)
        cost_usd = await _spent_with(context, work, generation)
        if frame is not None:
            note = _external_note(generation, frame)
            facts = {} if note is None else {"storage_note": note.message}
            done = StageDone(work.ref, "scene_image", facts, frame, is_kept=is_kept)
            await _tell_frame(context, done, generation, history)
            if "scene_start_frame" in context.order.stages and generation.state == "recorded":
                with stage("publish"):
                    verdict = await _publish(publisher, generation, frame)
                if verdict not in ("written", "already"):
                    frame = await _frame(context, generation) or frame
                    return _superseded(work, frame, verdict, cost_usd)
                generation = replace(generation, state="published")
            if frame.is_current:
                done = StageDone(work.ref, "scene_start_frame", {}, frame, is_kept=is_kept)
                await _tell_frame(context, done, generation, history)
    if generation.state == "superseded":
        return _superseded(work, frame, "prompt_changed", cost_usd, made_by)
    note = _note(context, work.ref.project_key, generation, before, frame)
    # A picture that was taken over was made long ago, and one that was waited for by another run.
    is_kept = is_kept or generation.reused_image_id is not None
    status: SceneStatus = "kept" if is_kept else "generated"
    return SceneOutcome(work.ref, status, frame, note, cost_usd, made_by)


def _is_made_by_others(context: RunContext, locked: Generation) -> bool:
    """Whether another run has done all that this one was to do for a generation.

    What this run has had in hand itself stays its own, also where a lost connection lets it look
    at its finished work again.
    """
    if _is_left_to_do(context, locked):
        context.worked_on.add(locked.id)
    return locked.id not in context.worked_on and locked.run_id != context.order.run_id


def _is_left_to_do(context: RunContext, generation: Generation) -> bool:
    """Whether something that is selected is still to be done for a generation."""
    if generation.is_terminal:
        return False
    if generation.state == "recorded":
        return "scene_start_frame" in context.order.stages
    if generation.state in ("completed", "stored"):
        return not context.order.stages.isdisjoint({"scene_image", "scene_start_frame"})
    return True


async def failed_before(context: RunContext, generation: Generation) -> list[Generation]:
    """What was rejected, or failed otherwise, before this rung, the first attempt first."""
    if generation.rung == 0:
        return []
    async with context.services.pool.connection() as conn:
        return await chains.attempts_before(conn, generation)


def _ladder_facts(
    context: RunContext, generation: Generation, before: Sequence[Generation]
) -> dict[str, Any]:
    if not before:
        return {}
    facts: dict[str, Any] = {"rung": generation.rung}
    rejected = [attempt for attempt in before if attempt.error_code == CONTENT_REJECTED]
    if rejected:
        facts["rejected"] = ladder.story(context.services.settings, rejected)
    if generation.fallback is not None:
        facts["fallback"] = made_by_fallback(
            generation.fallback, generation.provider, generation.endpoint
        )
    return facts


async def spent(context: RunContext, work: SceneWork) -> Decimal:
    """What this run has spent on a scene, whatever came of it."""
    paid = context.paid_here.get(work.ref)
    if not paid:
        return usd(0)
    try:
        async with context.services.pool.connection() as conn:
            return usd(await rungs.spent_micros(conn, paid))
    except psycopg.Error:
        return usd(0)  # the ledger is what counts; this figure is only shown


async def _spent_with(context: RunContext, work: SceneWork, generation: Generation) -> Decimal:
    """The same where a generation is at hand as it stands, which mostly says it all."""
    if context.paid_here.get(work.ref) == {generation.id}:
        return usd(generation.cost_micros)
    return await spent(context, work)


def _raise_failed(generation: Generation) -> None:
    if generation.state == "failed":
        raise SceneError(
            generation.error_message or "The picture was rejected.",
            code=generation.error_code,
            next_action=generation.error_next_action,
        )


def _note(
    context: RunContext,
    project_key: str,
    generation: Generation,
    before: Sequence[Generation],
    frame: FrameFacts | None,
) -> Failure | None:
    """What a scene's outcome says although it has its frame."""
    rescued = ladder.rescued_note(context.services.settings, project_key, generation, before)
    external = _external_note(generation, frame)
    if rescued is None or external is None:
        return external or rescued
    return replace(external, message=f"{external.message} {rescued.message}")


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


async def _tell_frame(
    context: RunContext, done: StageDone, generation: Generation, history: ToldHistory
) -> None:
    """Tell a stage with what came before its version; asked for only where it is told."""
    if done.frame is not None and context.is_untold(done.scene, done.stage):
        shown = await history.complete(done.frame, generation)
        await context.tell(replace(done, frame=shown))


async def _frame(context: RunContext, generation: Generation) -> FrameFacts | None:
    async with context.services.pool.connection() as conn:
        version = await version_of_generation(conn, generation.id)
    return frame_facts(version) if version else None


def _superseded(
    work: SceneWork,
    frame: FrameFacts | None,
    verdict: str,
    cost_usd: Decimal,
    made_by: str | None = None,
) -> SceneOutcome:
    what = {
        "scene_gone": "was removed from the document",
        "not_current": "got a newer frame",
    }.get(verdict, "was edited")
    failure = Failure(
        code="superseded",
        message=f"Scene {work.ref.scene_id} {what} while its frame was made; the frame is kept as"
        " a version, and the document was left alone.",
        next_action=named(
            f"Make a frame for what the document says now with {AGAIN}.",
            work.ref.project_key,
            work.ref.scene_id,
        ),
    )
    return SceneOutcome(work.ref, "stale", frame, failure, cost_usd, made_by)
