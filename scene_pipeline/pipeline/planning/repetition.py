"""Requests that were planned before: what came of them is used, and nothing is bought twice.

Belongs here: going on with a known generation. Does not belong here: a scene's first one
(`pipeline.planning.plan`).
"""

from dataclasses import replace

from scene_pipeline.database import generations, intentions, ledger, requests
from scene_pipeline.database.promotion import promote_version
from scene_pipeline.database.rows import Connection, Generation, VersionRow
from scene_pipeline.database.versions import version_of_generation
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.facts import frame_facts
from scene_pipeline.pipeline.orders import Failure, FrameOrder
from scene_pipeline.pipeline.planning.ladder import last_rung
from scene_pipeline.pipeline.planning.scene_work import SceneWork, new_generation
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
    is_unpaid = known.error_charge == "not_charged" and known.flagged_input is None
    if known.state == "abandoned" or is_unpaid:
        return await _plan_again(conn, known)
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
        if before is not None and (
            before.state != "failed"
            or (before.error_charge == "not_charged" and before.flagged_input is None)
        ):
            return await go_on_with(conn, order, scene, work, before)
    version = await version_of_generation(conn, known.id)
    if version is None or version.rejection is not None or known.state == "failed":
        failure = Failure(
            code=known.error_code or "failed",
            message=known.error_message or "The last attempt failed.",
            next_action=known.error_next_action or "Ask for another picture with --regenerate.",
        )
        return replace(work, action="failed", failure=failure)
    return await _reuse(conn, work, version)


async def _plan_again(conn: Connection, known: Generation) -> Generation:
    try:
        return await ledger.allow_resubmit(conn, known)
    except LedgerError:  # another worker planned this very instant: its generation serves us both
        opened = await generations.open_generation(conn, known.project_id, known.scene_id)
        return opened or await generations.get_generation(conn, known.id)


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
