"""Whether the picture of a version is really in the store, asked before people rely on it.

Belongs here: one question, outside of any transaction. Does not belong here: choosing a version
(`promotion`).
"""

import asyncio

from scene_pipeline.database.rows import Connection
from scene_pipeline.database.versions import storage_key_of_former
from scene_pipeline.errors import UsageError, quoted
from scene_pipeline.storage.base import ObjectStore


async def check_stored(
    conn: Connection, store: ObjectStore, project_key: str, scene_id: str, version: int
) -> None:
    """Refuse a version whose object the store does not have: its URL would be dead.

    A version that is at its provider only has no object yet, and what is not known is refused by
    whoever chooses it.

    Args:
        conn: Outside of a transaction.
        store: The one in use.
        project_key: The project.
        scene_id: Its scene.
        version: Of the scene.

    Raises:
        UsageError: code "version_lost"; nothing was changed.
        StorageError: The store could not be asked.
    """
    async with conn.transaction():
        storage_key = await storage_key_of_former(conn, project_key, scene_id, version)
    if storage_key is None or await asyncio.to_thread(store.head, storage_key) is not None:
        return
    raise UsageError(
        f"The picture of version {version} of scene {scene_id} is not in the store any more.",
        code="version_lost",
        next_action="Choose another version, or see what else is lost: `scene-pipeline reconcile"
        f" {quoted(project_key)}`.",
    )
