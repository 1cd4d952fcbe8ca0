"""The table of scenes, derived from a document with the settings of this process.

Belongs here: what a scene's row says of its content. Does not belong here: deciding about scenes
(`pipeline.planning.survey`).
"""

from dataclasses import replace
from typing import Any

from scene_pipeline.database import references
from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.projects import StoredDocument, synchronise_scenes
from scene_pipeline.database.reference_digests import adopt_digests
from scene_pipeline.database.rows import Connection, SceneRow
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.projects import pictures
from scene_pipeline.providers.registry import DEFAULT_MODELS
from scene_pipeline.scenes.document import ProjectDocument, Scene
from scene_pipeline.scenes.prompts import EXPANSION_VERSION
from scene_pipeline.scenes.requests import (
    RequestDefaults,
    RequestOverrides,
    ResolvedRequest,
    resolve_request,
)
from scene_pipeline.settings import Settings


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
        seed_policy=settings.seed_policy,
    )


async def synchronise(
    conn: Connection, stored: StoredDocument, document: ProjectDocument, defaults: RequestDefaults
) -> ProjectDocument:
    """Derive the table of scenes, where document or reference pictures have changed since.

    Args:
        conn: In a transaction.
        stored: The document's row.
        document: As it reads.
        defaults: For what it leaves open.

    Returns:
        The document with what is known of the pictures that it names.
    """
    project, named = stored.project, document.named_pictures
    is_due = project.planned_revision < project.revision
    looked = await pictures.look_up(conn, project.id, named) if named else None
    if looked is not None and (is_due or looked.has_other_bytes):
        # One transaction at a time derives a project's scenes from its pictures.
        await hold_project(conn, project.id)
        # Again: another transaction may have derived them meanwhile.
        looked = await pictures.look_up(conn, project.id, named)
    if looked is not None:
        await pictures.keep(conn, project.id, looked)
        document = replace(document, pictures=looked.pictures)
        is_due = is_due or looked.has_other_bytes
    if is_due:
        await _derive(conn, stored, document, defaults)
        # Last: the project is held by now, as by everybody who writes what is known of pictures.
        await references.forget_pictures(conn, project.id, project.revision, named)
    return document


async def _derive(
    conn: Connection, stored: StoredDocument, document: ProjectDocument, defaults: RequestDefaults
) -> None:
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
    await adopt_digests(conn, stored.project.id, rows)
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
        "references": list(request.document_references),
        "size": str(request.document_size),
        "expansion_version": EXPANSION_VERSION,
        **_digests(request),
    }


def _digests(request: ResolvedRequest) -> dict[str, dict[str, str]]:
    """The pictures behind the references, as far as their bytes were ever seen."""
    named = zip(request.document_references, request.document_digests, strict=True)
    known = {name: digest for name, digest in named if digest is not None}
    return {"reference_digests": known} if known else {}
