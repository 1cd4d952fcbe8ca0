"""Takes a drill's project away: its objects first, then its rows, and nothing else.

Objects go first, so that whatever interrupts it leaves the rows that say what is left to do.
"""

from dataclasses import dataclass

from scene_pipeline.database.rows import Connection
from scene_pipeline.database.scratch import (
    ScratchProject,
    claim_scratch,
    find_scratch,
    list_scratch,
    registered_keys,
    remove_scratch,
)
from scene_pipeline.database.session import open_pool
from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import ObjectStore


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken away of one drill."""

    key: str
    objects: int
    rows: int


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a cleaning did."""

    removed: tuple[Removed, ...]
    under_way: tuple[str, ...]
    """Drills of other processes that are still running and were left alone."""


async def remove_project(conn: Connection, store: ObjectStore, project: ScratchProject) -> Removed:
    """Remove a scratch project whose claim the caller holds.

    Raises:
        StorageError: The store refused or still shows an object; the rows stay.
    """
    # The rows know every upload that was ever begun; the listing shows any that they do not know.
    async with conn.transaction():
        keys = {*await registered_keys(conn, project)}
    keys.update(found.key for found in store.list(project.prefix))
    there = [key for key in sorted(keys) if store.head(key) is not None]
    for key in sorted(keys):
        store.delete(key)
    left = next(iter(store.list(project.prefix)), None)
    if left is not None:
        message = f"The object store still shows {left.key} after it was deleted."
        raise StorageError(message, next_action="Try `scene-pipeline drill --clean` again.")
    rows = await remove_scratch(conn, project)
    return Removed(project.key, objects=len(there), rows=rows)


async def clean(database_url: str, store: ObjectStore) -> Cleaned:
    """Remove what killed drills, and those that were asked to keep it, have left behind.

    Raises:
        StorageError: The store refused; what was not removed is still there to be removed.
    """
    removed: list[Removed] = []
    under_way: list[str] = []
    async with open_pool(database_url, max_size=1) as pool, pool.connection() as conn:
        async with conn.transaction():
            found = await list_scratch(conn)
        for project in found:
            with claim_scratch(database_url, project.key) as is_ours:
                if not is_ours:
                    under_way.append(project.key)
                elif await _is_there(conn, project):
                    removed.append(await remove_project(conn, store, project))
    return Cleaned(tuple(removed), tuple(under_way))


async def _is_there(conn: Connection, project: ScratchProject) -> bool:
    """Whether its drill has not removed it itself since it was listed."""
    async with conn.transaction():
        return await find_scratch(conn, project.key) is not None
