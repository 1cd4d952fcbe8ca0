"""Contact sheets: which projects need a new one, and the record of those that were made.

The fingerprint of a project is a hash of what its sheet and its page show, so that they are made
once per state of the frames, however many runs there were. A sheet that a run makes gets its own at
the run's end: one that breaks off before has told nobody, and the project stays due.

Belongs here: SQL. Does not belong here: what a page shows (`database.storyboard_pages`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from scene_pipeline.database.objects import add_reference, mark_present
from scene_pipeline.database.rows import Connection

UNTOLD: Final = "untold"
"""The fingerprint of a sheet whose run has not told of it yet; no project has it."""

_FINGERPRINT: LiteralString = """
SELECT s.project_id, s.project_key, md5(concat_ws(E'\\n',
    -- Raised when sheets or pages show something else of the same rows.
    '2',
    (SELECT jsonb_build_array(p.master_json #>> '{project,title}', p.document_problem,
        p.auto_refresh) FROM projects p WHERE p.id = s.project_id),
    (SELECT md5(string_agg(jsonb_build_array(i.scene_id, i.version, i.is_current, i.storage_url,
        i.storage_status, i.rejection)::text, E'\\n' ORDER BY i.scene_id, i.version))
        FROM scene_images i WHERE i.project_id = s.project_id),
    (SELECT md5(string_agg(jsonb_build_array(g.seq, g.cost_micros, g.cost_kind,
        g.doubtful_micros)::text, E'\\n' ORDER BY g.seq)) FROM generations g
        WHERE g.project_id = s.project_id
        AND (g.cost_micros IS NOT NULL OR g.doubtful_micros > 0)),
    string_agg(jsonb_build_array(s.scene_id, s.state, s.version, s.locked, s.is_chosen,
        s.scene_prompt, s.problem_message, s.stale_causes, s.content_hash, s.error_code,
        s.error_message, s.error_next_action, s.is_ready)::text, E'\\n'
        ORDER BY s.position, s.scene_id)
    )) AS fingerprint
FROM scene_status s
"""
"""One row for a project: a hash of everything that its sheet, page and list of frames show."""

_CHANGES_PER_LOOK = 1000
_STALE: LiteralString = f"""
WITH next AS MATERIALIZED (
    SELECT project_id, looked_at FROM storyboard_changes ORDER BY looked_at LIMIT %(changes)s),
due AS MATERIALIZED (
    SELECT project_id FROM next GROUP BY project_id ORDER BY min(looked_at) LIMIT %(limit)s),
shown AS MATERIALIZED (
    SELECT f.* FROM due
    -- Project by project, so that each is read by index however many there are.
    CROSS JOIN LATERAL ({_FINGERPRINT} WHERE s.project_id = due.project_id AND s.archived_at IS NULL
        GROUP BY s.project_id, s.project_key) f),
stale AS MATERIALIZED (SELECT * FROM shown WHERE fingerprint IS DISTINCT FROM (
    SELECT b.fingerprint FROM storyboards b WHERE b.project_id = shown.project_id
    ORDER BY b.id DESC LIMIT 1)),
forgotten AS (DELETE FROM storyboard_changes c USING due WHERE c.project_id = due.project_id),
kept AS (INSERT INTO storyboard_changes (project_id) SELECT project_id FROM stale)
SELECT project_key, fingerprint FROM stale ORDER BY project_key
"""


@dataclass(frozen=True, slots=True)
class StoryboardRow:
    """A contact sheet that was stored."""

    project_id: UUID
    fingerprint: str
    storage_path: str
    storage_url: str
    sha256: str
    file_size: int
    width: int
    height: int
    run_id: str | None


async def fingerprint_of(conn: Connection, project_id: UUID) -> str:
    """The fingerprint of what a project's sheet would show now; "" for a project without scenes."""
    cursor = await conn.execute(
        _FINGERPRINT + " WHERE s.project_id = %s GROUP BY s.project_id, s.project_key",
        (project_id,),
    )
    row = await cursor.fetchone()
    return str(row["fingerprint"]) if row else ""


async def record_storyboard(conn: Connection, sheet: StoryboardRow) -> None:
    """Keep a sheet whose object was written and verified; an untold one makes its project due."""
    async with conn.transaction():
        await mark_present(conn, sheet.storage_path)
        await add_reference(conn, sheet.storage_path)
        names = StoryboardRow.__dataclass_fields__
        await conn.execute(
            f"INSERT INTO storyboards ({', '.join(names)})"
            f" VALUES ({', '.join(f'%({name})s' for name in names)})",
            {name: getattr(sheet, name) for name in names},
        )
        if sheet.fingerprint == UNTOLD:
            await _note_change(conn, sheet.project_id)


async def reopen_storyboard(conn: Connection, sheet: StoryboardRow, run_id: str) -> None:
    """Hand the newest sheet to a run that made the same again: it is untold until that has told."""
    async with conn.transaction():
        await conn.execute(
            "UPDATE storyboards SET fingerprint = %(untold)s, run_id = %(run_id)s"
            " WHERE storage_path = %(storage_path)s AND id = (SELECT max(id) FROM storyboards"
            " WHERE project_id = %(project_id)s)",
            {
                "untold": UNTOLD,
                "run_id": run_id,
                "storage_path": sheet.storage_path,
                "project_id": sheet.project_id,
            },
        )
        await _note_change(conn, sheet.project_id)


async def finish_storyboard(
    conn: Connection, project_id: UUID, *, run_id: str, fingerprint: str
) -> None:
    """Let a run's sheet count for what it shows: the run has told everything."""
    await conn.execute(
        "UPDATE storyboards SET fingerprint = %s"
        " WHERE project_id = %s AND run_id = %s AND fingerprint = %s",
        (fingerprint, project_id, run_id, UNTOLD),
    )


async def _note_change(conn: Connection, project_id: UUID) -> None:
    await conn.execute("SELECT note_storyboard_change(%s)", (project_id,))


async def newest_told(conn: Connection, project_keys: Sequence[str]) -> dict[str, datetime]:
    """When the newest told sheet of each project was made, in UTC; a project may have none."""
    cursor = await conn.execute(
        "SELECT p.key AS project_key, max(b.created_at) AS made_at FROM projects p"
        " JOIN storyboards b ON b.project_id = p.id"
        " WHERE p.key = ANY(%s) AND b.fingerprint <> %s GROUP BY p.key",
        (list(project_keys), UNTOLD),
    )
    return {row["project_key"]: row["made_at"].astimezone(UTC) for row in await cursor.fetchall()}


async def latest_storyboard(conn: Connection, project_id: UUID) -> StoryboardRow | None:
    """The newest sheet of a project."""
    cursor = await conn.execute(
        f"SELECT {', '.join(StoryboardRow.__dataclass_fields__)} FROM storyboards"
        " WHERE project_id = %s ORDER BY id DESC LIMIT 1",
        (project_id,),
    )
    row = await cursor.fetchone()
    return StoryboardRow(**row) if row else None


def projects_with_stale_storyboards(url: str, limit: int) -> list[tuple[str, str]]:
    """Projects that changed since their last sheet and page, as (project key, fingerprint).

    Looks at the projects whose changes were not looked at for longest, so that one whose sheet
    cannot be drawn holds up no other. Changes that the newest sheet shows already, or of projects
    that are archived, are forgotten, in the very snapshot in which the frames are compared.
    Synchronous, for sensors.

    Args:
        url: The application's database.
        limit: Most projects to look at.
    """
    with psycopg.connect(url, row_factory=dict_row, connect_timeout=5) as conn:
        rows = conn.execute(_STALE, {"limit": limit, "changes": _CHANGES_PER_LOOK}).fetchall()
    return [(row["project_key"], row["fingerprint"]) for row in rows]
