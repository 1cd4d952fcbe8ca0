"""Requests that were planned before: what came of them is used, and nothing is bought twice.

Belongs here: going on with a known generation. Does not belong here: a scene's first one
(`pipeline.planning.plan`).
"""

from dataclasses import replace

from scene_pipeline.database import generations, intentions, ledger, promotion, requests
from scene_pipeline.database.rows import Connection, Generation, VersionRow
from scene_pipeline.database.versions import current_version, version_of_generation
from scene_pipeline.errors import ANOTHER, LedgerError
from scene_pipeline.pipeline.facts import frame_facts
from scene_pipeline.pipeline.orders import Failure, FrameOrder
from scene_pipeline.pipeline.planning.chains import begin_again, cost_nothing, last_rung
from scene_pipeline.pipeline.planning.scene_work import INSTEAD, SceneWork, new_generation
from scene_pipeline.pipeline.planning.survey import SurveyedScene


async def answer_of(conn: Connection, order: FrameOrder, work: SceneWork) -> Generation | None:
    """What this very order was answered by before, where the document still says the same."""
    known_id = await requests.answer_of_order(conn, work.project_id, work.ref.scene_id, order.token)
    if known_id is None:
        return None
    known = await generations.get_generation(conn, known_id)
    return known if known.content_hash == work.content_hash else None


async def go_on_with(
    conn: Connection,
    order: FrameOrder,
    scene: SurveyedScene,
    work: SceneWork,
    known: Generation,
) -> SceneWork | Generation:
    """Exactly this request was planned before: go on with what came of it."""
    known = await last_rung(conn, known)
    if not known.is_terminal:
        return known
    if cost_nothing(known):
        return await _plan_again(conn, await begin_again(conn, known))
    if known.state == "failed" and order.mode == "ensure" and scene.request is not None:
        attempts = await generations.count_attempts(
            conn, work.project_id, work.ref.scene_id, known.content_hash
        )
        again = new_generation(order, scene, scene.request, f"attempt:{attempts}")
        planned = await intentions.plan_generation(conn, again)
        if planned is not None:
            return planned
        before = await generations.find_by_key(conn, again.idempotency_key)
        # Never one that may have been paid: it would have been counted.
        if before is not None and (before.state != "failed" or cost_nothing(before)):
            return await go_on_with(conn, order, scene, work, before)
    version = await version_of_generation(conn, known.id)
    if version is None or version.rejection is not None or known.state == "failed":
        failure = Failure(
            code=known.error_code or "failed",
            message=known.error_message or "The last attempt failed.",
            next_action=known.error_next_action or f"Ask for another picture with {ANOTHER}.",
        )
        return replace(work, action="failed", failure=failure)
    return await _reuse(conn, order, scene, work, known, version)


async def _plan_again(conn: Connection, known: Generation) -> Generation:
    try:
        return await ledger.allow_resubmit(conn, known)
    except LedgerError:  # another worker planned this very instant: its generation serves us both
        opened = await generations.open_generation(conn, known.project_id, known.scene_id)
        return opened or await generations.get_generation(conn, known.id)


async def _reuse(  # noqa: PLR0917 (what planning knows of a scene)
    conn: Connection,
    order: FrameOrder,
    scene: SurveyedScene,
    work: SceneWork,
    known: Generation,
    version: VersionRow,
) -> SceneWork | Generation:
    """The very picture that is asked for was made: take it instead of paying again.

    What came to be the scene's frame after it stays. Where its picture is gone, another is made.
    """
    seat = await promotion.take_seat(conn, work.project_id, work.ref.scene_id)
    now = await current_version(conn, work.project_id, work.ref.scene_id)
    if now is not None and seat is not None and not version.is_current:
        newer = await generations.get_generation(conn, now.generation_id)
        is_fresh = newer.content_hash == work.content_hash
        if (
            seat.is_locked
            or seat.chosen_hash == work.content_hash
            or (order.mode == "regenerate" and known.state == "published")
            or (is_fresh and newer.seq > known.seq)
        ):
            return _keep(work, now, f"version {version.version} was made from this request before")
    if not version.is_current and await promotion.is_gone(conn, version.id):
        return await _make_instead(conn, order, scene, work, known)
    if not version.is_current:
        await promotion.promote_version(conn, work.project_id, work.ref.scene_id, version.version)
        version = replace(version, is_current=True)
    reason = f"version {version.version} was made from exactly this request"
    return _keep(work, version, reason)


async def _make_instead(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, work: SceneWork, known: Generation
) -> SceneWork | Generation:
    """Plan a new picture in the place of one whose bytes are gone; any planner plans the same."""
    if scene.request is None:
        return work
    again = new_generation(order, scene, scene.request, f"{INSTEAD}{known.id}")
    planned = await intentions.plan_generation(conn, again)
    if planned is not None:
        return planned
    before = await generations.find_by_key(conn, again.idempotency_key)
    if before is not None:
        return await go_on_with(conn, order, scene, work, before)
    opened = await generations.open_generation(conn, work.project_id, work.ref.scene_id)
    return opened or work


def _keep(work: SceneWork, version: VersionRow, reason: str) -> SceneWork:
    return replace(
        work,
        action="republish",
        reason=reason,
        current=frame_facts(version),
        current_prompt=version.scene_prompt,
    )
