"""Bringing documents in and giving them back.

Importing a document again updates its project: prompts and foreign fields come from the file,
frames that are recorded stay, and nothing that did not change is generated again.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from scene_pipeline.database import projects
from scene_pipeline.database.events import append_event
from scene_pipeline.database.projects import StoredDocument
from scene_pipeline.database.rows import Connection, ProjectRow, VersionRow
from scene_pipeline.database.versions import current_versions
from scene_pipeline.errors import Problem, UsageError
from scene_pipeline.pipeline.projects.scene_rows import request_defaults, synchronise
from scene_pipeline.scenes.document import parse_document, read_document
from scene_pipeline.scenes.hashes import canonical_json
from scene_pipeline.scenes.identity import project_key_from_filename
from scene_pipeline.scenes.patching import export_document
from scene_pipeline.settings import Settings

_START_FRAME = "scene_start_frame"


@dataclass(frozen=True, slots=True)
class ImportedProject:
    """What an import did."""

    key: str
    is_new: bool
    is_changed: bool
    """Whether the document differs from what was there."""
    scene_count: int
    """Scenes that can be used."""
    problems: tuple[Problem, ...]
    """Why other scenes are set aside."""
    notices: tuple[Problem, ...]
    """Doubtful, yet no reason to set a scene aside."""


async def import_document(
    conn: Connection,
    settings: Settings,
    data: bytes,
    *,
    file_name: str,
    origin: str,
    project_key: str | None,
    force: bool,
) -> ImportedProject:
    """Create a project from a document, or update the one it belongs to.

    Args:
        conn: In or outside of a transaction; this is one, or a part of it.
        settings: For the defaults that scenes are planned with.
        data: The file, byte for byte.
        file_name: Gives the key where the document has no `project.key`.
        origin: Where the file lies; a key taken from a file's name belongs to one origin.
        project_key: Wins over both.
        force: Replace a document that was edited since its last import.

    Raises:
        DocumentError: The document cannot be used; nothing was changed.
        UsageError: The key belongs to another file, or the document was edited since.
    """
    parsed = parse_document(data)
    document = read_document(parsed)
    own_key = project_key or document.key
    key = own_key or project_key_from_filename(file_name)
    async with conn.transaction():
        existing = await projects.find_project(conn, key)
        if existing is None:
            inserted = await projects.insert_project(
                conn,
                key=key,
                master_json=parsed,
                imported=data,
                scene_order=document.scene_order,
                origin=None if own_key else origin,
            )
            if inserted is None:
                raise UsageError(
                    f"Another program is importing project {key!r} at this moment.",
                    code="import_conflict",
                    next_action="Import it again in a moment.",
                )
            project, is_changed = inserted, True
        else:
            _refuse_other_origin(existing, origin, own_key)
            project, is_changed = await _update(
                conn, existing, parsed, data, document.scene_order, force=force
            )
        stored = await projects.load_document(conn, project.id)
        await synchronise(
            conn,
            stored,
            read_document(stored.master_json, order=stored.scene_order),
            request_defaults(settings),
        )
        if is_changed:
            await append_event(
                conn, "project_imported", project_id=project.id, data={"revision": project.revision}
            )
    return ImportedProject(
        key=key,
        is_new=existing is None,
        is_changed=is_changed,
        scene_count=len(document.scenes),
        problems=document.problems,
        notices=document.notices,
    )


def _refuse_other_origin(existing: ProjectRow, origin: str, own_key: str | None) -> None:
    if own_key is None and existing.origin != origin:
        namesake = existing.origin or "its document's own `project.key`, or by --project"
        raise UsageError(
            f"Project {existing.key!r} was named after {namesake}, not after {origin}.",
            code="origin_differs",
            next_action=f"Give --project {existing.key} to update it, or another key to make one.",
        )


async def _update(
    conn: Connection,
    existing: ProjectRow,
    parsed: Mapping[str, Any],
    data: bytes,
    scene_order: tuple[str, ...],
    *,
    force: bool,
) -> tuple[ProjectRow, bool]:
    stored = await projects.load_document(conn, existing.id, for_update=True)
    versions = await current_versions(conn, existing.id)
    ours = await _our_urls(conn, existing.id)
    merged = _with_recorded_frames(parsed, versions, ours)
    is_same = canonical_json(merged) == canonical_json(stored.master_json)
    if is_same and data == stored.imported_document:
        return existing, False
    if not is_same and not force and _was_edited(stored, ours):
        raise UsageError(
            f"Project {existing.key!r} was edited since its last import; the file would undo that.",
            code="edited_since_import",
            next_action="Export the project and merge, or import with --force.",
        )
    # The same in another layout is kept, too: `export` follows it, and edits are counted from it.
    project = await projects.replace_document(
        conn,
        existing.id,
        master_json=stored.master_json if is_same else merged,
        imported=data,
        scene_order=scene_order,
    )
    return project, project.revision != existing.revision


async def _our_urls(conn: Connection, project_id: UUID) -> frozenset[str]:
    cursor = await conn.execute(
        "SELECT storage_url AS url FROM scene_images WHERE project_id = %s"
        " UNION SELECT url FROM former_addresses WHERE project_id = %s",
        (project_id, project_id),
    )
    return frozenset(row["url"] for row in await cursor.fetchall())


def _with_recorded_frames(
    parsed: Mapping[str, Any], versions: Mapping[str, VersionRow], ours: frozenset[str]
) -> dict[str, Any]:
    """The file's document with our current frames, where it has none or an older one of ours."""
    merged = copy.deepcopy(dict(parsed))
    for scene_id, scene in _scenes_of(merged):
        version = versions.get(scene_id)
        present = scene.get(_START_FRAME)
        if version is not None and (not present or present in ours):
            scene[_START_FRAME] = version.storage_url
    return merged


def _was_edited(stored: StoredDocument, ours: frozenset[str]) -> bool:
    """Whether anything but our own frames differs from the document as it was imported."""
    if stored.imported_document is None:
        return True
    imported = parse_document(stored.imported_document)
    return _without_our_frames(imported, ours) != _without_our_frames(stored.master_json, ours)


def _without_our_frames(document: Mapping[str, Any], ours: frozenset[str]) -> str:
    stripped = copy.deepcopy(dict(document))
    for _, scene in _scenes_of(stripped):
        if not scene.get(_START_FRAME) or scene[_START_FRAME] in ours:
            scene.pop(_START_FRAME, None)
    return canonical_json(stripped)


def _scenes_of(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    scenes = document.get("scenes")
    if isinstance(scenes, dict):
        yield from ((key, scene) for key, scene in scenes.items() if isinstance(scene, dict))
    elif isinstance(scenes, list):
        for scene in scenes:
            if isinstance(scene, dict) and isinstance(scene.get("id"), str):
                yield scene["id"], scene


async def export_project(conn: Connection, key: str) -> bytes:
    """The project's document as it stands, in its author's own layout where that is possible.

    Raises:
        NotFoundError: There is no such project.
    """
    project = await projects.get_project(conn, key)
    _, data = await export_revision(conn, project.id)
    return data


async def export_revision(conn: Connection, project_id: UUID) -> tuple[int, bytes]:
    """The project's document as `export_project` gives it, with its revision.

    Raises:
        NotFoundError: There is no such project.
    """
    stored = await projects.load_document(conn, project_id)
    return stored.project.revision, export_document(stored.imported_document, stored.master_json)
