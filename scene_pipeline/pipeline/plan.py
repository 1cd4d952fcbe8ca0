"""Carries a survey's decisions into the ledger: every scene of an order becomes a piece of work.

Planning pays nothing. It runs in one transaction per project, so that a run either knows all of its
scenes or none.
"""

from dataclasses import dataclass, replace
from itertools import groupby
from uuid import UUID

from scene_pipeline.database import ledger, requests
from scene_pipeline.database.rows import Connection, Generation, NewGeneration, VersionRow
from scene_pipeline.database.versions import promote_version, version_of_generation
from scene_pipeline.pipeline.facts import frame_facts, no_frame_failure
from scene_pipeline.pipeline.orders import Failure, FrameFacts, FrameOrder, SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.survey import SurveyedScene, content_parts, survey_project
from scene_pipeline.scenes.hashes import idempotency_key, request_hash
from scene_pipeline.scenes.identity import derive_seed
from scene_pipeline.scenes.planning import Action
from scene_pipeline.scenes.requests import ResolvedRequest


@dataclass(frozen=True, slots=True)
class SceneWork:
    """One scene of a run, planned."""

    ref: SceneRef
    project_id: UUID
    action: Action
    reason: str
    generation: Generation | None
    """The row to work on, where there is work that may cost."""
    current: FrameFacts | None
    current_prompt: str | None
    """The document's words that the current version was made from."""
    expanded_prompt: str | None
    content_hash: str | None
    failure: Failure | None = None
    """Why nothing can be done, for the actions `failed` and `invalid`."""


async def plan_order(order: FrameOrder, services: Services) -> list[SceneWork]:
    """Plan every scene of an order.

    Raises:
        UsageError: A project or scene is unknown, or a document cannot be used; nothing is planned.
    """
    work: list[SceneWork] = []
    by_project = groupby(sorted(order.scenes), key=lambda ref: ref.project_key)
    for project_key, refs in by_project:
        async with services.pool.connection() as conn, conn.transaction():
            survey = await survey_project(
                conn,
                services.settings,
                services.prices,
                project_key,
                scene_ids=[ref.scene_id for ref in refs],
                mode=order.mode,
                refresh_stale=order.refresh_stale,
                overrides=order.overrides,
            )
            may_pay = "generated_frame" in order.stages
            work.extend(
                [await _plan_scene(conn, order, scene, may_pay=may_pay) for scene in survey.scenes]
            )
    return work


async def _plan_scene(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, *, may_pay: bool
) -> SceneWork:
    decision = scene.decision
    work = SceneWork(
        ref=scene.ref,
        project_id=scene.state.project_id,
        action=decision.action,
        reason=decision.reason,
        generation=None,
        current=frame_facts(scene.current) if scene.current else None,
        current_prompt=scene.current.scene_prompt if scene.current else None,
        expanded_prompt=scene.request.expanded_prompt if scene.request else None,
        content_hash=scene.state.content_hash,
        failure=_known_failure(scene),
    )
    if decision.action == "resume":
        return await _resume(conn, order, scene, work)
    if decision.action == "generate":
        if not may_pay:
            return _without_payment(work)
        return await _generate(conn, order, scene, work)
    return work


def _known_failure(scene: SurveyedScene) -> Failure | None:
    state = scene.state
    if scene.decision.action == "invalid":
        return Failure(
            code=state.problem_code or "scene_invalid",
            message=state.problem_message or f"Scene {state.scene_id} is not in the document.",
            next_action="Correct the scene in the document and import it again.",
        )
    if scene.decision.action == "failed":
        return Failure(
            code=state.error_code or "failed",
            message=state.error_message or "The last attempt failed.",
            next_action=state.error_next_action
            or f"Ask for another picture: --regenerate --scene {state.scene_id}.",
        )
    return None


def _without_payment(work: SceneWork) -> SceneWork:
    if work.current is not None:
        return replace(work, action="republish")
    return replace(work, action="failed", failure=no_frame_failure(work.ref))


async def _resume(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, work: SceneWork
) -> SceneWork:
    """Take the open generation up; one that is not sent yet follows the document's last word."""
    generation = await ledger.open_generation(conn, work.project_id, work.ref.scene_id)
    if generation is None:
        return await _generate(conn, order, scene, work)
    if generation.state == "planned" and scene.request is not None:
        wanted = _new_generation(order, scene, scene.request, generation.token)
        if wanted.idempotency_key != generation.idempotency_key:
            await ledger.abandon_unpaid(
                conn, generation.id, "The scene or its settings changed before anything was sent."
            )
            return await _generate(conn, order, scene, work, token=generation.token)
    return replace(work, generation=generation)


async def _generate(
    conn: Connection,
    order: FrameOrder,
    scene: SurveyedScene,
    work: SceneWork,
    *,
    token: str | None = None,
) -> SceneWork:
    if scene.request is None:
        return work
    request = await requests.oldest_open_request(conn, work.project_id, work.ref.scene_id)
    if token is None:
        token = f"request:{request.id}" if request is not None else order.token
    new = _new_generation(order, scene, scene.request, token)
    generation = await ledger.plan_generation(conn, new)
    if generation is None:
        known = await ledger.find_by_key(conn, new.idempotency_key)
        if known is None:  # another worker opened one this instant: it satisfies the request
            generation = await ledger.open_generation(conn, work.project_id, work.ref.scene_id)
        else:
            resolved = await _known_request(conn, order, scene, work, known)
            if isinstance(resolved, SceneWork):
                return resolved
            generation = resolved
    if generation is not None and request is not None:
        await requests.claim_request(conn, request.id, generation.id)
    return replace(work, action="generate", generation=generation)


async def _known_request(
    conn: Connection,
    order: FrameOrder,
    scene: SurveyedScene,
    work: SceneWork,
    known: Generation,
) -> SceneWork | Generation:
    """Exactly this request was planned before: go on with what came of it."""
    if not known.is_terminal:
        return known
    if known.state == "abandoned" or known.error_charge == "not_charged":
        return await ledger.allow_resubmit(conn, known)
    if known.state == "failed" and order.mode == "ensure" and scene.request is not None:
        attempts = await ledger.count_attempts(
            conn, work.project_id, work.ref.scene_id, known.content_hash
        )
        again = _new_generation(order, scene, scene.request, f"attempt:{attempts}")
        planned = await ledger.plan_generation(conn, again)
        if planned is not None:
            return planned
    version = await version_of_generation(conn, known.id)
    if version is None or version.rejection is not None or known.state == "failed":
        failure = Failure(
            code=known.error_code or "failed",
            message=known.error_message or "The last attempt failed.",
            next_action=known.error_next_action or "Ask for another picture with --regenerate.",
        )
        return replace(work, action="failed", failure=failure)
    return await _reuse(conn, work, version)


async def _reuse(conn: Connection, work: SceneWork, version: VersionRow) -> SceneWork:
    """The very picture that is asked for exists: promote it instead of paying again."""
    if not version.is_current:
        await promote_version(conn, work.project_id, work.ref.scene_id, version.version)
        version = replace(version, is_current=True)
    return replace(
        work,
        action="republish",
        reason=f"version {version.version} was made from exactly this request",
        current=frame_facts(version),
        current_prompt=version.scene_prompt,
    )


def _new_generation(
    order: FrameOrder, scene: SurveyedScene, request: ResolvedRequest, token: str
) -> NewGeneration:
    key = idempotency_key(
        project_id=scene.state.project_id,
        scene_id=scene.ref.scene_id,
        content_hash=request.content_hash,
        endpoint=request.endpoint,
        explicit_parameters=request.explicit_parameters,
        token=token,
        candidate_index=0,
    )
    seed = request.seed if request.seed is not None else derive_seed(key)
    estimate = scene.estimate
    return NewGeneration(
        project_id=scene.state.project_id,
        scene_id=scene.ref.scene_id,
        idempotency_key=key,
        token=token,
        run_id=order.run_id,
        provider=request.provider,
        endpoint=request.endpoint,
        scene_prompt=request.scene_prompt,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        content=content_parts(request),
        content_hash=request.content_hash,
        request_hash=request_hash(
            provider=request.provider,
            endpoint=request.endpoint,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            references=request.references,
            size=request.size,
            seed=seed,
            steps=request.steps,
            guidance=request.guidance,
            output_format=request.output_format,
            arguments=request.arguments,
        ),
        width=request.width,
        height=request.height,
        seed=seed,
        parameters={
            "steps": request.steps,
            "guidance": request.guidance,
            "output_format": request.output_format,
            "arguments": dict(request.arguments),
        },
        estimated_micros=estimate.amount_micros if estimate else 0,
        unit=estimate.unit if estimate else None,
        unit_price_usd=estimate.unit_price if estimate else None,
    )
