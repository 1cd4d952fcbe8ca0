"""Which imports are due for a run, and the marks that go with launching one.

Only the database's clock is compared. A mark is committed before the run is asked for: it counts
the attempt, sets when the same is due again, and names the launch that the run stands for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from scene_pipeline.database.imports import IMPORT_COLUMNS, OPEN_IMPORT, ImportRow
from scene_pipeline.database.rows import Connection


async def due_imports(conn: Connection, limit: int) -> list[ImportRow]:
    """Imports that wait for a run, or whose run has been silent, the longest waiting first."""
    cursor = await conn.execute(
        f"SELECT {IMPORT_COLUMNS} FROM asset_imports i WHERE i.{OPEN_IMPORT}"
        " AND i.due_at <= now() ORDER BY i.due_at LIMIT %s",
        (limit,),
    )
    return [ImportRow(**row) for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written of the imports of one launch."""

    launch_id: UUID
    import_ids: tuple[UUID, ...]
    again_in: timedelta


async def mark_launched(conn: Connection, mark: Mark) -> int:
    """Count the attempt and set the next one; returns how many were still due."""
    cursor = await conn.execute(
        "UPDATE asset_imports SET attempts = attempts + 1, launch_id = %s, due_at = now() + %s"
        f" WHERE id = ANY(%s) AND {OPEN_IMPORT} AND due_at <= now()",
        (mark.launch_id, mark.again_in, list(mark.import_ids)),
    )
    return cursor.rowcount


async def put_off(conn: Connection, import_ids: Sequence[UUID], wait: timedelta) -> None:
    """Look at imports again later; their run is at work, or waits for its turn."""
    await conn.execute(
        "UPDATE asset_imports SET due_at = now() + %s"
        f" WHERE id = ANY(%s) AND {OPEN_IMPORT} AND due_at <= now()",
        (wait, list(import_ids)),
    )
