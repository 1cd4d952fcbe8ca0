"""Looks at a project's scenes and decides what is to be done, without doing any of it.

Belongs here: reading the document and the rows, resolving requests, pricing. A dry run stops here;
`pipeline.plan` carries the decisions out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from scene_pipeline.database.projects import (
    StoredDocument,
    get_project,
    load_document,
    retired_scenes,
    scene_states,
    synchronise_scenes,
)
from scene_pipeline.database.rows import Connection, SceneRow, SceneState, VersionRow
from scene_pipeline.database.versions import current_versions
from scene_pipeline.errors import NotFoundError, UsageError
from scene_pipeline.pipeline.orders import Mode, SceneRef
from scene_pipeline.providers.prices import Estimate, PriceTable
from scene_pipeline.providers.registry import DEFAULT_MODELS
from scene_pipeline.scenes.document import ProjectDocument, Scene, read_document
from scene_pipeline.scenes.planning import Decision, LastFailure, Standing, decide
from scene_pipeline.scenes.prompts import EXPANSION_VERSION
from scene_pipeline.scenes.requests import (
    RequestDefaults,
    RequestOverrides,
    ResolvedRequest,
    resolve_request,
)
from scene_pipeline.scenes.table import PromptRow, prompt_row
from scene_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class SurveyedScene:
    """One scene with everything that planning it needs."""

    ref: SceneRef
    state: SceneState
    decision: Decision
    request: ResolvedRequest | None
    """What would be sent; None for a scene that cannot be used."""
    prompt: PromptRow | None
    """Its line of the prompts table."""
    estimate: Estimate | None
    """What a new generation would cost, whether or not one is due."""
    current: VersionRow | None


@dataclass(frozen=True, slots=True)
class ProjectSurvey:
    """A project's document, and the scenes that were asked for."""

    project_id: UUID
    project_key: str
    document: ProjectDocument
    scenes: tuple[SurveyedScene, ...]


def request_defaults(settings: Settings) -> RequestDefaults:
    """What the settings say where neither project, scene nor command does."""
    models = dict(DEFAULT_MODELS)
    if settings.model is not None:
        models[settings.provider_name] = settings.model
    return RequestDefaults(
        provider=settings.provider_name,
        models=models,
        image_size=settings.image_size,
        steps=settings.steps,
        output_format=settings.output_format,
    )


async def synchronise(
    conn: Connection, stored: StoredDocument, document: ProjectDocument, defaults: RequestDefaults
) -> None:
    """Derive the table of scenes from the document, when it has changed since the last time."""
    if stored.project.planned_revision >= stored.project.revision:
        return
    rows = [_scene_row(document, scene, defaults) for scene in document.scenes]
    usable = {row.scene_id for row in rows}
    places = {scene_id: place for place, scene_id in enumerate(document.scene_order, start=1)}
    set_aside = {
        problem.scene_id: problem
        for problem in reversed(document.problems)
        if problem.scene_id is not None
        and problem.scene_id in places
        and problem.scene_id not in usable
    }
    rows.extend(
        SceneRow(
            scene_id=scene_id,
            position=places[scene_id],
            scene_prompt=None,
            content={},
            content_hash=None,
            problem_code=problem.code,
            problem_message=problem.message,
        )
        for scene_id, problem in set_aside.items()
    )
    await synchronise_scenes(conn, stored.project.id, stored.project.revision, rows)


def _scene_row(document: ProjectDocument, scene: Scene, defaults: RequestDefaults) -> SceneRow:
    try:
        request = resolve_request(document, scene, defaults, RequestOverrides())
    except UsageError as error:
        return SceneRow(
            scene_id=scene.scene_id,
            position=scene.position,
            scene_prompt=scene.prompt,
            content={},
            content_hash=None,
            problem_code=error.error_code,
            problem_message=error.message,
        )
    return SceneRow(
        scene_id=scene.scene_id,
        position=scene.position,
        scene_prompt=scene.prompt,
        content=content_parts(request),
        content_hash=request.content_hash,
        continuity_group=scene.continuity_group,
        start_frame=scene.start_frame,
    )


def content_parts(request: ResolvedRequest) -> dict[str, Any]:
    """What decides the picture's content, part by part: a stale frame names its cause by them."""
    return {
        "prompt": request.scene_prompt,
        "expanded_prompt": request.expanded_prompt,
        "negative_prompt": request.negative_prompt or None,
        "references": list(request.references),
        "size": f"{request.width}x{request.height}",
        "expansion_version": EXPANSION_VERSION,
    }


async def survey_project(
    conn: Connection,
    settings: Settings,
    prices: PriceTable,
    project_key: str,
    *,
    scene_ids: Sequence[str] | None,
    mode: Mode,
    refresh_stale: bool,
    overrides: RequestOverrides,
    skip_retired: bool = False,
) -> ProjectSurvey:
    """Decide about every scene of a project, or about the named ones.

    Args:
        conn: In a transaction, so that all of it is seen at one moment.
        settings: For the defaults that scenes are planned with.
        prices: What a new generation would cost.
        project_key: Whose scenes.
        scene_ids: Which ones; None for all.
        mode: As the order has it.
        refresh_stale: As the order has it.
        overrides: As the order has it.
        skip_retired: Leave out named scenes that the document once had, instead of raising.

    Raises:
        NotFoundError: There is no such project, or it has no such scene.
        DocumentError: Another program has put a document there that cannot be used.
    """
    project = await get_project(conn, project_key)
    stored = await load_document(conn, project.id)
    document = read_document(stored.master_json, order=stored.scene_order)
    defaults = request_defaults(settings)
    await synchronise(conn, stored, document, defaults)
    states = await scene_states(conn, project.id)
    if scene_ids is not None:
        if skip_retired:
            retired = await retired_scenes(conn, project.id, scene_ids)
            scene_ids = [scene_id for scene_id in scene_ids if scene_id not in retired]
        states = _selected(states, project_key, scene_ids)
    versions = await current_versions(conn, project.id)
    by_id = {scene.scene_id: scene for scene in document.scenes}
    surveyed = []
    for state in states:
        scene = by_id.get(state.scene_id)
        effective = overridden(overrides, state.request_overrides)
        standing = standing_of(state, scene)
        decision = decide(standing, regenerate=mode == "regenerate", refresh_stale=refresh_stale)
        request = (
            resolve_request(document, scene, defaults, effective)
            if scene is not None and state.problem_code is None
            else None
        )
        estimate = (
            prices.estimate(request.provider, request.endpoint, request.width, request.height)
            if request is not None
            else None
        )
        surveyed.append(
            SurveyedScene(
                ref=SceneRef(project_key, state.scene_id),
                state=state,
                decision=decision,
                request=request,
                prompt=prompt_row(scene, request) if scene and request else None,
                estimate=estimate,
                current=versions.get(state.scene_id),
            )
        )
    return ProjectSurvey(project.id, project_key, document, tuple(surveyed))


def _selected(
    states: Sequence[SceneState], project_key: str, scene_ids: Sequence[str]
) -> list[SceneState]:
    by_id = {state.scene_id: state for state in states}
    unknown = [scene_id for scene_id in scene_ids if scene_id not in by_id]
    if unknown:
        message = f"Project {project_key!r} has no scene {unknown[0]!r}."
        raise NotFoundError(message, code="scene_unknown")
    return [by_id[scene_id] for scene_id in dict.fromkeys(scene_ids)]


def overridden(
    overrides: RequestOverrides, requested: Mapping[str, Any] | None
) -> RequestOverrides:
    """The order's overrides with those of a regeneration request on top."""
    if not requested:
        return overrides
    names = RequestOverrides.__dataclass_fields__
    return replace(overrides, **{k: v for k, v in requested.items() if k in names})


def standing_of(state: SceneState, scene: Scene | None) -> Standing:
    """The facts of one scene that the decision needs."""
    failure = None
    if state.last_state == "failed":
        failure = LastFailure(
            is_same_content=state.last_content_hash == state.content_hash,
            is_retryable=bool(state.last_error_retryable),
            is_uncharged=state.last_error_charge == "not_charged",
        )
    return Standing(
        is_valid=scene is not None and state.problem_code is None,
        is_locked=state.locked,
        has_frame=state.image_id is not None,
        is_stale=state.image_id is not None and state.current_content_hash != state.content_hash,
        stale_causes=state.stale_causes or (),
        has_open_generation=state.open_generation_id is not None,
        has_request=state.request_id is not None,
        is_in_document=scene is not None and scene.start_frame == state.storage_url,
        last_failure=failure,
        is_external=state.storage_status == "external",
    )
