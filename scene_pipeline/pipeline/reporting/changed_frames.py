"""Frames that may be others than people are shown: which they are, and what is told of them.

Belongs here: reading them, page by page. Does not belong here: telling them, and knowing what was
told (`defs.changed_frames`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database import untold_frames as notes
from scene_pipeline.database.frame_history import frame_histories
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.versions import versions_of_generations
from scene_pipeline.pipeline.facts import frame_facts
from scene_pipeline.pipeline.frame_history import with_history
from scene_pipeline.pipeline.orders import FrameFacts, SceneRef

PAGE_LENGTH = 50
"""Scenes whose pictures are in memory at once."""
UNNOTED_PAGE_LENGTH = 1000
"""Scenes without pictures."""


@dataclass(frozen=True, slots=True)
class ChangedFrame:
    """A scene whose frame may have changed, as it stands now."""

    scene: SceneRef
    project_id: UUID
    noted: notes.UntoldFrame


async def changed_frames(conn: Connection, project_key: str, after: str = "") -> list[ChangedFrame]:
    """The next scenes of a project whose frame may not be told, by their ids, without pictures.

    Args:
        conn: Any.
        project_key: The project.
        after: The scene id that the page before ended with; "" for the first page.

    Raises:
        NotFoundError: There is no such project.
    """
    project = await get_project(conn, project_key)
    noted = await notes.untold_frames(conn, project.id, after=after, limit=PAGE_LENGTH)
    return [ChangedFrame(SceneRef(project_key, one.scene_id), project.id, one) for one in noted]


async def unnoted_frames(
    conn: Connection, project_key: str, after: str = ""
) -> list[notes.UnnotedFrame]:
    """The next scenes of a project whose frame counts as told, by their ids.

    Args:
        conn: Any.
        project_key: The project.
        after: The scene id that the page before ended with; "" for the first page.

    Raises:
        NotFoundError: There is no such project.
    """
    project = await get_project(conn, project_key)
    return await notes.unnoted_frames(conn, project.id, after=after, limit=UNNOTED_PAGE_LENGTH)


async def note_frames(conn: Connection, project_key: str, scenes: Sequence[SceneRef]) -> None:
    """Have frames of one project told and judged, as those that a run has just made.

    Args:
        conn: Outside of a transaction.
        project_key: The project.
        scenes: Scenes of it.
    """
    if scenes:
        project = await get_project(conn, project_key)
        await notes.note_frames(conn, project.id, [scene.scene_id for scene in scenes])


async def frames_to_tell(
    conn: Connection, changed: Sequence[ChangedFrame]
) -> dict[SceneRef, FrameFacts]:
    """What is told of them, with pictures and what came before, by scene.

    One is left out where another version became current meanwhile: that is noted, and told then.

    Args:
        conn: Any.
        changed: At most a page.
    """
    scenes = {
        one.noted.generation_id: one.scene for one in changed if one.noted.generation_id is not None
    }
    versions = await versions_of_generations(conn, list(scenes))
    histories = await frame_histories(conn, list(versions))
    return {
        scenes[generation_id]: with_history(frame_facts(version), histories.get(generation_id))
        for generation_id, version in versions.items()
        if version.is_current
    }


async def keep_told(conn: Connection, told: Sequence[ChangedFrame]) -> None:
    """Say that frames of one project were told as they stood."""
    if told:
        await notes.forget_told(conn, told[0].project_id, [one.noted for one in told])
