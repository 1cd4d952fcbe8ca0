"""A version that exists stands in for a new picture: carried into the ledger, and nothing is paid.

Belongs here: doing it under the scene's lock, as long as it is still what was decided. Does not
belong here: finding such versions (`pipeline.planning.reuse`), choosing one by hand
(`pipeline.projects.promotion`).
"""

from dataclasses import replace

from scene_pipeline.database import generations, promotion
from scene_pipeline.database.events import append_event
from scene_pipeline.database.reuse import NewReuse, ReusableVersion, take_over
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.versions import current_version
from scene_pipeline.pipeline.facts import frame_facts
from scene_pipeline.pipeline.orders import FrameOrder
from scene_pipeline.pipeline.planning.scene_work import SceneWork
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.pipeline.projects.scene_rows import content_parts
from scene_pipeline.scenes.hashes import idempotency_key


async def reuse(
    conn: Connection, order: FrameOrder, scene: SurveyedScene, work: SceneWork
) -> SceneWork | None:
    """Let the version that was found stand in.

    Args:
        conn: In the planning transaction.
        order: Whose run it is.
        scene: As it was surveyed, with `reusable`.
        work: Its work so far.

    Returns:
        What is left to do; None where the version is not to be had any more.
    """
    found = scene.reusable
    if found is None:
        return None
    if found.kind == "own":
        return await _go_back(conn, order, scene, work, found)
    return await _take_over(conn, order, scene, work, found)


async def _go_back(
    conn: Connection,
    order: FrameOrder,
    scene: SurveyedScene,
    work: SceneWork,
    found: ReusableVersion,
) -> SceneWork:
    """The scene's own version becomes current again, unless the scene has moved on meanwhile."""
    place = (work.project_id, work.ref.scene_id)
    seat = await promotion.take_seat(conn, *place)
    is_as_seen = (
        seat is not None
        and seat.version == scene.state.version
        and not (seat.is_locked and seat.version is not None)
        and (seat.chosen_hash is None or seat.chosen_hash != seat.wanted_hash)
    )
    if seat is not None and is_as_seen:
        await promotion.promote_version(conn, *place, found.version)
        await append_event(
            conn,
            "version_promoted",
            project_id=work.project_id,
            scene_id=work.ref.scene_id,
            run_id=order.run_id,
            data={"version": found.version, "instead_of": seat.version, "by": "reuse"},
        )
    version = await current_version(conn, *place)
    if version is None:
        return work
    return replace(
        work,
        action="republish",
        current=frame_facts(version),
        current_prompt=version.scene_prompt,
    )


async def _take_over(
    conn: Connection,
    order: FrameOrder,
    scene: SurveyedScene,
    work: SceneWork,
    found: ReusableVersion,
) -> SceneWork | None:
    if scene.request is None:
        return None
    token = f"reuse:{found.image_id}"
    key = idempotency_key(
        project_id=work.project_id,
        scene_id=work.ref.scene_id,
        content_hash=scene.request.content_hash,
        endpoint="",
        explicit_parameters={},
        token=token,
    )
    new = NewReuse(
        project_id=work.project_id,
        scene_id=work.ref.scene_id,
        idempotency_key=key,
        token=token,
        run_id=order.run_id,
        scene_prompt=scene.request.scene_prompt,
        content=content_parts(scene.request),
        content_hash=scene.request.content_hash,
        image_id=found.image_id,
        # A scene that left gives its picture to one other; a request elsewhere serves everybody.
        request_id=token if found.kind == "renamed" else f"{token}:{key[:32]}",
    )
    generation = await take_over(conn, new)
    if generation is None:
        # Another planner was faster: with this very row, or with a new picture of the scene.
        generation = await generations.open_generation(conn, work.project_id, work.ref.scene_id)
    return None if generation is None else replace(work, generation=generation)
