"""How a whole project's frames stand to its document, without looking at a single picture.

Belongs here: the two checks that rows alone decide, for all scenes in one statement. Does not
belong here: the checks of a run (`frames`).
"""

from uuid import UUID

from scene_pipeline.database.checked_frames import standings
from scene_pipeline.database.frame_checks import save_verdicts, verdicts_of_project
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.checking.frames import verdict_row
from scene_pipeline.pipeline.checking.verdicts import standing_verdicts
from scene_pipeline.pipeline.checks import CheckVerdict
from scene_pipeline.pipeline.orders import SceneRef

STANDING_CHECKS = ("document_points_to_current", "prompt_unchanged_since")
MAX_RENEWED = 500
"""Verdicts of one call, each of which becomes an event of Dagster's; the rest is told next time."""


async def renew_standing(
    conn: Connection, project_id: UUID, *, limit: int = MAX_RENEWED
) -> list[tuple[SceneRef, CheckVerdict]]:
    """Judge what the document says of every frame anew, keep what changed, and give that.

    Args:
        conn: Any.
        project_id: Whose scenes.
        limit: The most that are kept and given; what is left is found changed the next time.

    Returns:
        Verdicts that passed otherwise, looked at another version or have other words than the last
        ones, in the document's order.
    """
    known = {
        (row.scene_id, row.name): row
        for row in (
            kept.row for kept in await verdicts_of_project(conn, project_id, STANDING_CHECKS)
        )
    }
    changed: list[tuple[SceneRef, CheckVerdict]] = []
    rows = []
    for standing in await standings(conn, project_id):
        ref = SceneRef(standing.project_key, standing.scene_id)
        for verdict in standing_verdicts(standing):
            row = verdict_row(project_id, ref, verdict)
            if known.get((row.scene_id, row.name)) != row:
                rows.append(row)
                changed.append((ref, verdict))
    await save_verdicts(conn, rows[:limit])
    return changed[:limit]
