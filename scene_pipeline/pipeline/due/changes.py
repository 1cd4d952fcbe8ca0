"""Which scenes are due because their document changed.

Documents that are newer than what was planned of them are planned first, each in a transaction of
its own; that makes scenes *wanted*. A wanted scene is looked at with the same rules as a run looks
at it, so that they exist once, and is then launched, looked at again later, or settled. A time that
was set meanwhile, by an edit, always wins.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Literal
from uuid import UUID

import psycopg

from scene_pipeline.database import due
from scene_pipeline.database.alerts import raise_alert
from scene_pipeline.database.projects import load_document
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import DocumentError, ScenePipelineError
from scene_pipeline.pipeline.due.launches import SCENES_PER_TICK, DueScene, Wish, reason_of
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.planning.survey import SurveyedScene, survey_project
from scene_pipeline.pipeline.prices import load_prices
from scene_pipeline.pipeline.projects.scene_rows import request_defaults, synchronise
from scene_pipeline.providers.prices import PriceTable
from scene_pipeline.scenes.document import read_document
from scene_pipeline.scenes.identity import project_key_problem, scene_id_problem
from scene_pipeline.scenes.planning import FOREIGN_FRAME, Action
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline.settings import Settings

Look = Literal["launch", "refresh", "settle"]
"""launch: a run in *ensure* has something to do. refresh: so has one that replaces what is stale.
settle: nothing, until something happens to the scene."""

PROJECTS_PER_TICK = 50
_LAUNCHED_ACTIONS: frozenset[Action] = frozenset({"generate", "reuse", "republish"})
_LOOK_AGAIN = timedelta(seconds=15)
"""At a scene that somebody else is working on."""
_LOOK_AGAIN_LATEST = timedelta(minutes=10)
_DOCUMENT_WAIT = timedelta(seconds=60)
"""Until a document that cannot be used is looked at again for its scenes."""


async def changes(conn: Connection, settings: Settings) -> list[Wish]:
    """Plan changed documents and say which scenes are due for it.

    Args:
        conn: Outside of a transaction.
        settings: Of this process.
    """
    for project_id in await due.changed_projects(conn, PROJECTS_PER_TICK):
        await conn.commit()
        await _plan_document(conn, settings, project_id)
        failpoint("tick_after_synchronise")
    wanted = await due.wanted_scenes(conn, SCENES_PER_TICK)
    await conn.commit()
    if not wanted:
        return []
    prices = await load_prices(conn, settings)
    by_project = groupby(sorted(wanted, key=attrgetter("project_id")), key=attrgetter("project_id"))
    wishes = []
    for _, scenes in by_project:
        wishes.extend(await _look_at(conn, settings, prices, list(scenes)))
        failpoint("tick_after_settling")
    return wishes


def look(scene: SurveyedScene, now: datetime, quiet: timedelta) -> Look | datetime:
    """Say what becomes of a wanted scene, by the decision that a run would come to.

    Args:
        scene: As *ensure* sees it.
        now: By the database's clock.
        quiet: How long an edited scene must have been left alone before it is bought again.

    Returns:
        What to do now, or when to look again.
    """
    action = scene.decision.action
    if scene_id_problem(scene.ref.scene_id) is not None:  # Dagster can have no key for it
        return "settle"
    if action == "resume" or scene.state.request_id is not None:
        # Another sensor's; what it ends as is to be seen. Soon at first, then ever more rarely: a
        # budget may be blown for days.
        waiting = (now - scene.state.content_changed_at) / 2
        return now + min(max(waiting, _LOOK_AGAIN), _LOOK_AGAIN_LATEST)
    if scene.decision.code == FOREIGN_FRAME:  # somebody's own frame is replaced only when asked
        return "settle"
    if action in _LAUNCHED_ACTIONS:
        return "launch"
    if action == "stale" and scene.state.auto_refresh:
        quiet_at = scene.state.content_changed_at + quiet
        return "refresh" if quiet_at <= now else quiet_at
    return "settle"


async def _plan_document(conn: Connection, settings: Settings, project_id: UUID) -> None:
    """Derive the scenes of a changed document; one that cannot be used is kept as a problem.

    Raises:
        psycopg.OperationalError: The database is in trouble, and with it the whole tick.
    """
    try:
        async with conn.transaction():
            stored = await load_document(conn, project_id)
            _check_key(stored.project.key)
            document = read_document(stored.master_json, order=stored.scene_order)
            await synchronise(conn, stored, document, request_defaults(settings))
            return
    except psycopg.OperationalError:
        raise
    except ScenePipelineError as error:
        problem = {"code": error.error_code, "message": error.message}
        next_action = error.next_action
    except psycopg.Error as error:
        message = f"Its scenes cannot be kept in the database ({type(error).__name__})."
        problem = {"code": "document_invalid", "message": message}
        next_action = DocumentError.default_next_action
    async with conn.transaction():
        revision = stored.project.revision
        if await due.set_document_aside(conn, project_id, revision, problem):
            await raise_alert(
                conn,
                fingerprint=f"document:{project_id}:{revision}",
                code=problem["code"],
                message=f"Project {stored.project.key}: {problem['message']}",
                next_action=next_action,
                project_id=project_id,
            )


def _check_key(project_key: str) -> None:
    """Refuse a project whose key no partition can have; its key never changes."""
    problem = project_key_problem(project_key)
    if problem is not None:
        raise DocumentError(
            problem,
            code="bad_project_key",
            next_action="Insert it anew under another key; the key of a project never changes.",
        )


async def _look_at(
    conn: Connection,
    settings: Settings,
    prices: PriceTable,
    wanted: Sequence[due.WantedScene],
) -> list[Wish]:
    """Settle or put off what is not due of one project, in one transaction; wish for the rest."""
    project_id, project_key = wanted[0].project_id, wanted[0].project_key
    seen = {scene.scene_id: scene.wanted_at for scene in wanted}
    ids = [scene.scene_id for scene in wanted if not scene.is_out]

    async def survey(scene_ids: Sequence[str], *, refresh_stale: bool) -> Sequence[SurveyedScene]:
        if not scene_ids:
            return ()
        surveyed = await survey_project(
            conn,
            settings,
            prices,
            project_key,
            scene_ids=scene_ids,
            mode="ensure",
            refresh_stale=refresh_stale,
            overrides=RequestOverrides(),
            skip_retired=True,
        )
        return surveyed.scenes

    async with conn.transaction():
        now = await due.database_time(conn)
        quiet = timedelta(seconds=settings.auto_refresh_quiet_seconds)
        try:
            scenes = await survey(ids, refresh_stale=False)
            looks = {scene.ref.scene_id: look(scene, now, quiet) for scene in scenes}
            stale = [scene_id for scene_id, seen_as in looks.items() if seen_as == "refresh"]
            refreshed = [
                scene
                for scene in await survey(stale, refresh_stale=True)
                if scene.decision.action in _LAUNCHED_ACTIONS
            ]
        except ScenePipelineError:
            # The document was broken since, or a setting is: neither says anything about the
            # scenes, which stay wanted. Whoever runs them is told why.
            await due.set_wanted(conn, project_id, seen, now + _DOCUMENT_WAIT)
            return []
        launched = [scene for scene in scenes if looks[scene.ref.scene_id] == "launch"]
        kept = {scene.ref.scene_id for scene in (*launched, *refreshed)}
        await _set_wanted(conn, project_id, looks, {k: v for k, v in seen.items() if k not in kept})
    wishes = [
        _wish(project_id, project_key, launched, seen),
        _wish(project_id, project_key, refreshed, seen, refresh_stale=True),
    ]
    return [wish for wish in wishes if wish.scenes]


async def _set_wanted(
    conn: Connection,
    project_id: UUID,
    looks: Mapping[str, Look | datetime],
    seen: Mapping[str, datetime],
) -> None:
    """Put off what is to be looked at later, and settle the rest: what is out included."""
    moments: dict[datetime | None, dict[str, datetime]] = {}
    for scene_id, wanted_at in seen.items():
        verdict = looks.get(scene_id)
        moment = verdict if isinstance(verdict, datetime) else None
        moments.setdefault(moment, {})[scene_id] = wanted_at
    for moment, scenes in moments.items():
        await due.set_wanted(conn, project_id, scenes, moment)


def _wish(
    project_id: UUID,
    project_key: str,
    scenes: Sequence[SurveyedScene],
    seen: Mapping[str, datetime],
    *,
    refresh_stale: bool = False,
) -> Wish:
    return Wish(
        "auto_refresh" if refresh_stale else "scene_changes",
        project_id,
        project_key,
        tuple(DueScene(s.ref.scene_id, wanted_at=seen[s.ref.scene_id]) for s in scenes),
        reason_of([scene.decision.reason for scene in scenes]),
        refresh_stale=refresh_stale,
    )
