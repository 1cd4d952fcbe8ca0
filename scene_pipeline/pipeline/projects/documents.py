"""Whole documents for editors: read with their revision, saved only over that same revision.

The pipeline writes URLs into a document while it is being edited, and every such write raises the
revision. An editor's save that would undo one is therefore refused, never merged by guessing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scene_pipeline.database import projects
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.document import parse_document, read_document


@dataclass(frozen=True, slots=True)
class RevisedDocument:
    """A document and the revision to save it over."""

    document: Mapping[str, Any]
    revision: int


async def read_revision(conn: Connection, key: str) -> RevisedDocument:
    """A project's document as it stands.

    Raises:
        NotFoundError: There is no such project.
    """
    project = await projects.get_project(conn, key)
    stored = await projects.load_document(conn, project.id)
    return RevisedDocument(stored.master_json, stored.project.revision)


async def save_document(
    conn: Connection, key: str, document: Mapping[str, Any], expected_revision: int
) -> int:
    """Save a whole document, where nobody changed it since it was read.

    Args:
        conn: In or outside of a transaction; this is one, or a part of it.
        key: Of the project.
        document: All of it; members that are left out are removed.
        expected_revision: The revision that it was read with.

    Returns:
        The new revision; the same one where the document is equal to what is there.

    Raises:
        NotFoundError: There is no such project.
        DocumentError: The document cannot be used; nothing was changed.
        UsageError: code "revision_conflict"; the message holds the current revision.
    """
    checked = parse_document(json.dumps(dict(document)).encode())
    scene_order = read_document(checked).scene_order
    async with conn.transaction():
        project = await projects.get_project(conn, key)
        revision = await projects.save_master_json(
            conn,
            project.id,
            master_json=checked,
            scene_order=scene_order,
            expected_revision=expected_revision,
        )
        if revision is None:
            current = (await projects.get_project(conn, key)).revision
            raise UsageError(
                f"Project {key!r} is at revision {current}, not {expected_revision}: it was changed"
                " since it was read.",
                code="revision_conflict",
                next_action=f"Read revision {current}, make the change on it and save again.",
            )
    return revision
