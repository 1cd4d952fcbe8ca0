"""Scenes for which nothing is planned: gone, refused, failed before, or finished by another run.

Belongs here: what is told of them, and the requests that end with it. Does not belong here: what is
planned (`pipeline.planning.plan`).
"""

from dataclasses import replace
from uuid import UUID

from scene_pipeline.database import generations, intentions, requests
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.versions import current_version
from scene_pipeline.errors import AGAIN, ANOTHER, named, quoted
from scene_pipeline.pipeline.facts import frame_facts
from scene_pipeline.pipeline.orders import Failure, SceneRef
from scene_pipeline.pipeline.planning.scene_work import SceneWork
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.pipeline.projects.settings import archived_failure
from scene_pipeline.scenes.planning import PROJECT_ARCHIVED


async def gone(conn: Connection, ref: SceneRef, project_id: UUID) -> SceneWork:
    """A scene that was removed before its planning holds nothing else up.

    What was sent for it is finished all the same, and becomes a version.
    """
    generation = await generations.open_generation(conn, project_id, ref.scene_id)
    if generation is not None and generation.state == "planned":
        generation = None
    failure = Failure(
        code="scene_gone",
        message=f"Scene {ref.scene_id} is no longer in the document.",
        next_action="Nothing is to be done; its frames are kept, and come back with it.",
    )
    return SceneWork(
        ref=ref,
        project_id=project_id,
        action="invalid" if generation is None else "resume",
        reason="it is no longer in the document",
        generation=generation,
        current=None,
        current_prompt=None,
        prompt=None,
        content_hash=None,
        failure=failure,
    )


async def refuse(conn: Connection, scene: SurveyedScene) -> None:
    """Close what was asked for and is not to be made, so that whoever asked sees why."""
    state, problem = scene.state, scene.problem
    if problem is not None and state.request_id is not None:
        await requests.refuse_requests(
            conn,
            [state.request_id],
            code=problem.code,
            message=problem.message,
            next_action=problem.next_action,
        )
    is_kept = state.locked and state.image_id is not None
    if state.open_generation_id is None or state.open_state != "planned" or not is_kept:
        return
    reason = f"Scene {state.scene_id} was locked before anything was sent for it."
    if await intentions.abandon_unpaid(conn, state.open_generation_id, reason):
        await requests.refuse_requests(
            conn,
            await requests.claims_of(conn, state.open_generation_id),
            code="scene_locked",
            message=reason,
            next_action="Unlock it with `scene-pipeline unlock"
            f" {quoted(state.project_key)} {quoted(state.scene_id)}` and ask again.",
            state="claimed",
        )


def known_failure(scene: SurveyedScene) -> Failure | None:
    """Why nothing can be done about a scene, as far as that is known before."""
    state = scene.state
    if scene.decision.action == "invalid":
        return Failure(
            code=state.problem_code or "scene_invalid",
            message=state.problem_message or f"Scene {state.scene_id} is not in the document.",
            next_action="Correct the scene in the document and import it again.",
        )
    if scene.decision.code == PROJECT_ARCHIVED:
        return archived_failure(scene.ref.project_key)
    if scene.decision.action == "failed" and scene.problem is not None:
        return scene.problem
    if scene.decision.action == "failed":
        return Failure(
            code=state.error_code or "failed",
            message=state.error_message or "The last attempt failed.",
            next_action=state.error_next_action
            or named(
                f"Ask for another picture with {ANOTHER}.", scene.ref.project_key, state.scene_id
            ),
        )
    return None


async def as_it_is(conn: Connection, work: SceneWork) -> SceneWork:
    """What the scene has by now: another run finished, this instant, what was to be done."""
    reason = "another run has just finished it"
    version = await current_version(conn, work.project_id, work.ref.scene_id)
    if version is not None:
        return replace(
            work,
            action="republish",
            reason=reason,
            current=frame_facts(version),
            current_prompt=version.scene_prompt,
        )
    failure = Failure(
        code="finished_elsewhere",
        message=f"Another run has just given scene {work.ref.scene_id} up.",
        next_action=named(
            f"See what came of it with `scene-pipeline status PROJECT`, then go on with {AGAIN}.",
            work.ref.project_key,
            work.ref.scene_id,
        ),
    )
    return replace(work, action="failed", reason=reason, failure=failure)
