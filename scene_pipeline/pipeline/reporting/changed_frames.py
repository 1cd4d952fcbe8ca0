"""Frames that became others without a run: each as it stands now, with what came before it.

Belongs here: reading them, page by page. Does not belong here: telling them
(`defs.changed_frames`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database.frame_history import frame_histories
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.untold_frames import (
    UntoldFrame,
    forget_told,
    note_unchecked_frames,
    untold_frames,
)
from scene_pipeline.database.versions import versions_of_generations
from scene_pipeline.pipeline.facts import frame_facts
from scene_pipeline.pipeline.frame_history import with_history
from scene_pipeline.pipeline.orders import FrameFacts, SceneRef

PAGE_LENGTH = 50
"""Scenes whose pictures are in memory at once."""
MAX_UNCHECKED = 500
"""Frames of dead runs that one storyboard takes up."""


@dataclass(frozen=True, slots=True)
class ChangedFrame:
    """A scene whose frame changed, as it stands now."""

    scene: SceneRef
    project_id: UUID
    noted: UntoldFrame
    frame: FrameFacts | None
    """Its current version; None where it has none."""


async def changed_frames(conn: Connection, project_key: str, after: str = "") -> list[ChangedFrame]:
    """The next scenes of a project whose frame changed without a run, by their ids.

    With the first page those are noted whose run was killed between making and checking them.

    Args:
        conn: Outside of a transaction.
        project_key: The project.
        after: The scene id that the page before ended with; "" for the first page.

    Raises:
        NotFoundError: There is no such project.
    """
    project = await get_project(conn, project_key)
    if not after:
        await note_unchecked_frames(conn, project.id, limit=MAX_UNCHECKED)
    noted = await untold_frames(conn, project.id, after=after, limit=PAGE_LENGTH)
    ids = [one.generation_id for one in noted if one.generation_id is not None]
    versions = await versions_of_generations(conn, ids)
    histories = await frame_histories(conn, ids)
    frames = {
        version.scene_id: with_history(frame_facts(version), histories.get(generation_id))
        for generation_id, version in versions.items()
        # Another one may have been chosen between the statements; that is noted, and told then.
        if version.is_current
    }
    return [
        ChangedFrame(SceneRef(project_key, one.scene_id), project.id, one, frames.get(one.scene_id))
        for one in noted
    ]


async def keep_told(conn: Connection, told: Sequence[ChangedFrame]) -> None:
    """Say that frames of one project were told as they stood."""
    if told:
        await forget_told(conn, told[0].project_id, [one.noted for one in told])
