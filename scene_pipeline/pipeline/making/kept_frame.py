"""A scene whose frame is kept: healed where it is not ours yet, and written back where it is lost.

Belongs here: what a run does for a scene without paying. Does not belong here: making a frame
(`pipeline.making.scene_flow`).
"""

from uuid import UUID

from scene_pipeline.database.publishing import Publication
from scene_pipeline.database.versions import version_of_generation
from scene_pipeline.errors import ANOTHER, named
from scene_pipeline.pipeline.facts import frame_facts, no_frame_failure
from scene_pipeline.pipeline.keeping.healer import Healer
from scene_pipeline.pipeline.making.publish import Publisher
from scene_pipeline.pipeline.making.run_context import RunContext
from scene_pipeline.pipeline.orders import Failure, FrameFacts, SceneOutcome, Stage, StageDone
from scene_pipeline.pipeline.planning.scene_work import SceneWork

_FRAME_STAGES: tuple[Stage, ...] = ("scene_image", "scene_start_frame")


async def keep(context: RunContext, publisher: Publisher, work: SceneWork) -> SceneOutcome:
    """Keep a scene's frame and say so; nothing is paid.

    A picture that is at its provider only is brought home where the selection stores pictures; one
    that cannot be is kept all the same, with the reason in the outcome.
    """
    frame = work.current
    if frame is None:
        return SceneOutcome(work.ref, "failed", None, no_frame_failure(work.ref))
    note: Failure | None = None
    is_healed = False
    if frame.storage_status == "external" and "scene_image" in context.order.stages:
        frame, note = await _heal(context, frame)
        is_healed = frame.storage_status == "stored"
    if work.action in ("republish", "heal") and "scene_start_frame" in context.order.stages:
        await publisher.publish(
            work.project_id,
            Publication(
                generation_id=UUID(frame.generation_id),
                scene_id=work.ref.scene_id,
                scene_prompt=work.current_prompt or "",
                url=frame.url,
                guard="current",
            ),
        )
    await _tell_kept(context, work, frame, is_healed=is_healed)
    if work.action == "stale":
        failure = Failure(
            code="stale",
            message=f"Scene {work.ref.scene_id} was {work.reason}.",
            next_action=named(
                "Replace every stale frame with `scene-pipeline run PROJECT --stale`, or this one"
                f" with {ANOTHER}.",
                work.ref.project_key,
                work.ref.scene_id,
            ),
        )
        return SceneOutcome(work.ref, "stale", frame, failure)
    return SceneOutcome(work.ref, "kept", frame, note)


async def _heal(context: RunContext, frame: FrameFacts) -> tuple[FrameFacts, Failure | None]:
    """Try to bring a frame home; gives it as it is afterwards, and why it is not home."""
    generation_id = UUID(frame.generation_id)
    healer = Healer(
        context.services,
        context.locks,
        context.downloads,
        context.decodes,
        context.uploads,
        store_failures=context.store_failures,
    )
    healed = await healer.heal(generation_id)
    async with context.services.pool.connection() as conn:
        version = await version_of_generation(conn, generation_id)
    return (
        frame_facts(version) if version else frame,
        healed.failure if healed is not None else None,
    )


async def _tell_kept(
    context: RunContext, work: SceneWork, frame: FrameFacts, *, is_healed: bool
) -> None:
    if context.is_untold(work.ref, "generated_frame", *_FRAME_STAGES):
        frame = await context.histories.complete(frame)
    facts = {
        "generation_id": frame.generation_id,
        "provider": frame.provider,
        "model": frame.model,
        "seed": frame.seed,
        "cost_usd": frame.cost_usd,
        "cost_kind": frame.cost_kind,
        "generation_seconds": frame.stage_seconds.get("generation"),
        "attempts": frame.attempts,
        "attempts_total": frame.attempts_total,
        "reason": work.reason,
    }
    await context.tell(StageDone(work.ref, "generated_frame", facts, is_kept=True))
    healing = {"healed": True} if is_healed else {}
    for stage in _FRAME_STAGES:
        await context.tell(StageDone(work.ref, stage, healing, frame, is_kept=not is_healed))
