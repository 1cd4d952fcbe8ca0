"""Asking for new versions: rows first, so that an interrupted command goes on as the same."""

from collections.abc import Sequence
from hashlib import sha256

from scene_pipeline.database.projects import get_project
from scene_pipeline.database.requests import ask_for_new_versions
from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.hashes import canonical_json
from scene_pipeline.scenes.overrides import RequestOverrides, given_overrides


async def request_new_versions(
    conn: Connection,
    project_key: str,
    scene_ids: Sequence[str],
    *,
    overrides: RequestOverrides,
    requested_by: str,
    reason: str | None = None,
) -> bool:
    """Ask for a new version of each scene; the next run in mode *ensure* makes them.

    The same scenes with the same overrides are one batch: while any of its requests is unanswered,
    asking again continues it and writes nothing.

    Returns:
        Whether a new batch was written; False when an unfinished one is being continued.

    Raises:
        NotFoundError: There is no such project.
    """
    project = await get_project(conn, project_key)
    given = given_overrides(overrides)
    batch = sha256(canonical_json([sorted(scene_ids), given]).encode()).hexdigest()[:32]
    return await ask_for_new_versions(
        conn,
        project.id,
        scene_ids,
        overrides=given,
        batch=batch,
        requested_by=requested_by,
        reason=reason,
    )
