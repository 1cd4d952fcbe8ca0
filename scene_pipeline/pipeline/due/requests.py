"""Which scenes are due because somebody asked for a new version.

A request is a row that any program may write, so it is checked here once more: what cannot be
carried out ends as failed with its reason, and is told. One that waits for its turn, behind an
older request or an unfinished generation of its scene, is not looked at before that is over. What
is asked for stays in the row: neither tags nor the run's configuration carry it.
"""

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from scene_pipeline.database import due
from scene_pipeline.database.due import DueRequest
from scene_pipeline.database.requests import refuse_requests
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import UsageError, quoted
from scene_pipeline.pipeline.due.launches import SCENES_PER_TICK, DueScene, Wish, reason_of
from scene_pipeline.scenes.identity import scene_id_problem
from scene_pipeline.scenes.overrides import read_overrides

MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is never carried out."""

    code: str
    message: str
    next_action: str


async def requests(conn: Connection) -> list[Wish]:
    """Refuse what cannot be carried out and say what is due of the rest.

    Args:
        conn: Outside of a transaction.
    """
    found = await due.due_requests(conn, SCENES_PER_TICK)
    await conn.commit()
    accepted = []
    for request in found:
        refusal = refusal_of(request)
        if refusal is not None:
            await _refuse(conn, request, refusal)
        elif request.is_known:
            accepted.append(request)
        # else: its project's document is about to be planned; it stays due
    accepted.sort(key=attrgetter("project_key"))
    return [_wish(list(group)) for _, group in groupby(accepted, key=attrgetter("project_id"))]


def refusal_of(request: DueRequest) -> Refusal | None:
    """Say why a request can never be carried out as it is; None where it can, or may."""
    if request.is_archived:
        return Refusal(
            "project_archived",
            f"Project {request.project_key} is archived: nothing new is made for it.",
            f"Take it out with `scene-pipeline project {quoted(request.project_key)} --unarchive`"
            " and ask again.",
        )
    try:
        read_overrides(request.overrides)
    except UsageError as error:
        return Refusal(error.error_code, error.message, error.next_action)
    if not request.is_known and not request.is_planned and not scene_id_problem(request.scene_id):
        return None
    return _refusal_of_scene(request)


def _refusal_of_scene(request: DueRequest) -> Refusal | None:
    scene = f"Scene {request.scene_id} of {request.project_key}"
    if not request.is_known:
        return Refusal(
            "scene_unknown",
            f"{scene} is not in the document.",
            f"See `scene-pipeline status {quoted(request.project_key)}` for its scenes.",
        )
    if request.problem_code is not None:
        return Refusal(
            request.problem_code,
            request.problem_message or f"{scene} cannot be used.",
            "Correct the scene in the document and ask again.",
        )
    if request.is_kept:
        return Refusal(
            "scene_locked",
            f"{scene} is locked: its frame is never replaced.",
            f"Unlock it with `scene-pipeline unlock {quoted(request.project_key)}"
            f" {quoted(request.scene_id)}` and ask again.",
        )
    if request.attempts >= MAX_ATTEMPTS:
        return Refusal(
            "not_launched",
            f"{scene}: {request.attempts} runs were launched for the request, and none answered"
            " it.",
            "See the scene's runs in the UI for the reason, and ask again.",
        )
    return None


async def _refuse(conn: Connection, request: DueRequest, refusal: Refusal) -> None:
    async with conn.transaction():
        await refuse_requests(
            conn,
            [request.id],
            code=refusal.code,
            message=refusal.message,
            next_action=refusal.next_action,
        )


def _wish(requests_of_project: list[DueRequest]) -> Wish:
    first = requests_of_project[0]
    return Wish(
        "regeneration_requests",
        first.project_id,
        first.project_key,
        tuple(DueScene(one.scene_id, request_id=one.id) for one in requests_of_project),
        reason_of([_words(one) for one in requests_of_project]),
    )


def _words(request: DueRequest) -> str:
    return f"{request.requested_by or 'somebody'}: {request.reason or 'a new version'}"
