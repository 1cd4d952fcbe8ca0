"""Carries a survey's decisions into the ledger: every scene of an order becomes a piece of work.

Planning pays nothing. It runs in one transaction per project, so that a run either knows all of its
scenes or none.
"""

from contextlib import nullcontext
from dataclasses import replace
from itertools import groupby

from scene_pipeline.database import generations, intentions, requests
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.pipeline.facts import frame_facts, no_frame_failure
from scene_pipeline.pipeline.orders import FrameOrder
from scene_pipeline.pipeline.planning.chains import base_token
from scene_pipeline.pipeline.planning.repetition import answer_of, go_on_with
from scene_pipeline.pipeline.planning.reusing import reuse
from scene_pipeline.pipeline.planning.scene_work import (
    SceneWork,
    is_asked_for,
    new_generation,
)
from scene_pipeline.pipeline.planning.survey import SurveyedScene, survey_project
from scene_pipeline.pipeline.planning.unplanned import as_it_is, gone, known_failure, refuse
from scene_pipeline.pipeline.references.checking import REFERENCE_CHANGED
from scene_pipeline.pipeline.references.foreign import eyes_of, refresh_foreign
from scene_pipeline.pipeline.services import Services


async def plan_order(order: FrameOrder, services: Services) -> list[SceneWork]:
    """Plan every scene of an order.

    Raises:
        UsageError: A project or scene is unknown, or a document cannot be used; nothing is planned.
    """
    work: list[SceneWork] = []
    by_project = groupby(sorted(order.scenes), key=lambda ref: ref.project_key)
    for project_key, grouped in by_project:
        refs = list(grouped)
        await refresh_foreign(
            services.pool.connection,
            services.settings,
            project_key,
            scene_ids=[ref.scene_id for ref in refs],
            open_eyes=lambda: nullcontext(eyes_of(services)),
        )
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
                skip_retired=True,
            )
            here = {scene.ref for scene in survey.scenes}
            work.extend(
                [await gone(conn, ref, survey.project_id) for ref in refs if ref not in here]
            )
            may_pay = "generated_frame" in order.stages
            work.extend(
                [await _plan_scene(conn, order, scene, may_pay=may_pay) for scene in survey.scenes]
            )
    return work


async def _plan_scene(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, *, may_pay: bool
) -> SceneWork:
    if scene.decision.action == "reuse" and scene.otherwise is not None and not may_pay:
        scene = replace(scene, decision=scene.otherwise)
    decision = scene.decision
    work = SceneWork(
        ref=scene.ref,
        project_id=scene.state.project_id,
        action=decision.action,
        reason=decision.reason,
        generation=None,
        current=frame_facts(scene.current) if scene.current else None,
        current_prompt=scene.current.scene_prompt if scene.current else None,
        prompt=scene.prompt,
        content_hash=scene.state.content_hash,
        failure=known_failure(scene),
    )
    if decision.action == "reuse":
        reused = await reuse(conn, order, scene, work)
        if reused is not None or scene.otherwise is None:
            return reused or work
        scene = replace(scene, decision=scene.otherwise, otherwise=None)
        return await _plan_scene(conn, order, scene, may_pay=may_pay)
    if decision.action == "resume":
        planned = await _resume(conn, order, scene, work)
    elif decision.action == "generate":
        if not may_pay:
            return _without_payment(work)
        planned = await _generate(conn, order, scene, work)
    else:
        await refuse(conn, scene)
        return work
    answer = planned.generation
    is_asked = answer is not None and base_token(answer.token) == order.token
    if order.mode == "regenerate" and answer is not None and not is_asked:
        await requests.keep_answer_of_order(conn, order.token, answer)
    return planned


def _without_payment(work: SceneWork) -> SceneWork:
    if work.current is not None:
        return replace(work, action="republish")
    return replace(work, action="failed", failure=no_frame_failure(work.ref))


async def _resume(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, work: SceneWork
) -> SceneWork:
    """Take the open generation up; one that is not sent yet follows the document's last word."""
    generation = await generations.open_generation(conn, work.project_id, work.ref.scene_id)
    if generation is None and order.mode == "regenerate":
        return await _generate(conn, order, scene, work)
    if generation is None:
        return await as_it_is(conn, work)
    if generation.state == "planned" and scene.request is not None:
        token = base_token(generation.token)
        wanted = new_generation(order, scene, scene.request, token)
        is_rung = generation.rung > 0  # it follows from a failed one, and is repriced when due
        if (
            wanted.content_hash != generation.content_hash
            if is_rung
            else wanted.idempotency_key != generation.idempotency_key
        ):
            await intentions.abandon_unpaid(
                conn, generation.id, "The scene or its settings changed before anything was sent."
            )
            if scene.otherwise is not None and await _nobody_asked(conn, work, token):
                scene = replace(scene, decision=scene.otherwise, otherwise=None)
                return await _plan_scene(conn, order, scene, may_pay=True)
            planned = await _generate(conn, order, scene, work, token=token)
            if generation.error_code == REFERENCE_CHANGED and planned.generation is not None:
                # A picture that never keeps still is asked about ever more rarely.
                await intentions.wait_as_long(conn, planned.generation.id, generation)
            return planned
        if not is_rung:
            generation = await intentions.reprice_unsent(
                conn,
                generation,
                estimated_micros=wanted.estimated_micros,
                unit=wanted.unit,
                unit_price_usd=wanted.unit_price_usd,
            )
    request = await requests.oldest_open_request(conn, work.project_id, work.ref.scene_id)
    is_of_today = generation.content_hash == work.content_hash
    if is_of_today and request and request.generation_id is None and not request.overrides:
        # What is under way answers it: one picture was asked for, and one is being paid. A request
        # with wishes of its own, or for other words by now, waits for its turn.
        await requests.claim_request(conn, request.id, generation.id)
    return replace(work, generation=generation)


async def _nobody_asked(conn: Connection, work: SceneWork, token: str) -> bool:
    """Whether a generation was planned for want of a frame, and not because of a request."""
    if is_asked_for(token):
        return False
    request = await requests.oldest_open_request(conn, work.project_id, work.ref.scene_id)
    return request is None


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
    if token is None and order.mode == "regenerate":
        answered = await _answered_before(conn, order, scene, work)
        if answered is not None:
            return answered
    request = await requests.oldest_open_request(conn, work.project_id, work.ref.scene_id)
    if token is None and order.mode == "ensure" and request is None and scene.state.request_id:
        return await as_it_is(conn, work)  # it was answered since the scene was looked at
    own_token = None if request is None else f"request:{request.id}"
    if token is None:
        token = order.token if own_token is None else own_token
    new = new_generation(order, scene, scene.request, token)
    planned = await intentions.plan_generation(conn, new)
    resolved = planned or await _go_on(conn, order, scene, work, new.idempotency_key)
    if isinstance(resolved, SceneWork):
        if request is not None and token == own_token:
            is_failed = resolved.action == "failed"
            await requests.answer_without_payment(conn, request.id, is_failed=is_failed)
        elif request is not None:  # what another order had made is no answer to a wish after it
            return await _generate(conn, order, scene, work)
        return resolved
    if request is not None:
        await requests.claim_request(conn, request.id, resolved.id)
    return replace(work, action="generate", generation=resolved)


async def _answered_before(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, work: SceneWork
) -> SceneWork | None:
    """What came of what this very order was answered by; None where it was not."""
    answer = await answer_of(conn, order, work)
    if answer is None:
        return None
    again = await go_on_with(conn, order, scene, work, answer)
    if isinstance(again, SceneWork):
        return again
    return replace(work, action="generate", generation=again)


async def _go_on(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, work: SceneWork, key: str
) -> SceneWork | Generation:
    """Go on with what was planned before under this key, or instead of it."""
    known = await generations.find_by_key(conn, key)
    if known is not None:
        return await go_on_with(conn, order, scene, work, known)
    # Another worker opened one this instant: it satisfies the request.
    opened = await generations.open_generation(conn, work.project_id, work.ref.scene_id)
    return opened or await as_it_is(conn, work)
