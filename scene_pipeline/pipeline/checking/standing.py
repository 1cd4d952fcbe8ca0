"""How a whole project's frames stand to its document, without looking at a single picture.

Belongs here: the two checks that rows alone decide, for all scenes in one statement. Does not
belong here: the checks of a run (`frames`).
"""

from collections.abc import Sequence
from uuid import UUID

from scene_pipeline.database.checked_frames import standings
from scene_pipeline.database.frame_checks import save_verdicts, verdicts_of_project
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.checking.frames import verdict_row
from scene_pipeline.pipeline.checking.verdicts import standing_verdicts
from scene_pipeline.pipeline.checks import CheckVerdict
from scene_pipeline.pipeline.orders import SceneRef

STANDING_CHECKS = ("document_points_to_current", "prompt_unchanged_since")


async def changed_standing(
    conn: Connection, project_id: UUID
) -> list[tuple[SceneRef, CheckVerdict]]:
    """Judge what the document says of every frame anew, and give all that changed.

    It is found changed again until it is kept.

    Args:
        conn: Any.
        project_id: Whose scenes; a document has 10,000 at most (`scenes.document.MAX_SCENES`).

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
    for standing in await standings(conn, project_id):
        ref = SceneRef(standing.project_key, standing.scene_id)
        for verdict in standing_verdicts(standing):
            row = verdict_row(project_id, ref, verdict)
            if known.get((row.scene_id, row.name)) != row:
                changed.append((ref, verdict))
    return changed


async def keep_standing(
    conn: Connection,
    project_id: UUID,
    told: Sequence[tuple[SceneRef, CheckVerdict]],
    *,
    run_id: str | None = None,
) -> None:
    """Keep verdicts that were told, so that they are no news any more.

    Args:
        conn: Any.
        project_id: Whose scenes.
        told: As `changed_standing` gave them.
        run_id: Dagster's id of the run that told them.
    """
    rows = [verdict_row(project_id, ref, verdict) for ref, verdict in told]
    await save_verdicts(conn, rows, run_id=run_id)
