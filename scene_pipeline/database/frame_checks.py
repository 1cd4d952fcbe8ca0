"""Verdicts of checks on scenes' frames: the newest of each check.

Belongs here: SQL. Does not belong here: coming to a verdict (`pipeline.checking`), what it is
judged by (`checked_frames`), which addresses are asked next (`asked_addresses`).
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID

from psycopg.rows import DictRow

from scene_pipeline.database.events import append_event
from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """The newest verdict of one check on one scene."""

    project_id: UUID
    scene_id: str
    name: str
    version: int | None
    """The version that was looked at; None where the scene had no frame."""
    passed: bool
    severity: Literal["error", "warn"]
    words: str
    """At most 1000 characters."""
    url: str | None = field(default=None, compare=False)
    """The address that was asked, when it is to be kept; of other checks, and once kept, None."""


@dataclass(frozen=True, slots=True)
class CheckedAt:
    """A verdict and when it was found."""

    row: VerdictRow
    checked_at: datetime


_Key = tuple[UUID, str, str]
"""A project, a scene of it, and a check."""
_NAMES = tuple(name for name in VerdictRow.__dataclass_fields__ if name != "url")
_COLUMNS = ", ".join(_NAMES)
_TIMELY: LiteralString = """
    FROM unnest(%(project_id)s::uuid[], %(scene_id)s::text[], %(name)s::text[],
        %(version)s::integer[], %(passed)s::boolean[], %(severity)s::text[], %(words)s::text[],
        %(url)s::text[])
        AS t(project_id, scene_id, name, version, passed, severity, words, url)
    LEFT JOIN scene_images i ON i.project_id = t.project_id AND i.scene_id = t.scene_id
        AND i.is_current
    WHERE i.version IS NOT DISTINCT FROM t.version AND (t.url IS NULL OR t.url = i.storage_url)
"""
"""Verdicts on what is current at this moment, of those that are given."""


async def save_verdicts(
    conn: Connection, rows: Sequence[VerdictRow], *, run_id: str | None = None
) -> frozenset[VerdictRow]:
    """Keep verdicts in the place of older ones of the same checks and scenes, and feed what turned.

    A check that fails now and did not before is an event, and one that passes again; that all is
    well from the first is none. Event and verdict are committed together.

    A verdict that comes late, on a version that is not the current one any more or an address that
    moved meanwhile, is dropped: there may be one on what is there now.

    Args:
        conn: Any.
        rows: Of one check and scene the last one counts.
        run_id: Dagster's id of the run that found them.

    Returns:
        Those that are kept; of the others nobody is to be told.
    """
    newest = {_key(row): row for row in rows}
    if not newest:
        return frozenset()
    ordered = [newest[key] for key in sorted(newest, key=str)]
    async with conn.transaction():
        await take_turn(conn, {row.project_id for row in ordered})
        failing = await _failing(conn, ordered)
        kept = await _replace(conn, ordered)
        for row in ordered:
            if _key(row) in kept and row.passed is (_key(row) in failing):
                await append_event(
                    conn,
                    "frame_check_passed" if row.passed else "frame_check_failed",
                    project_id=row.project_id,
                    scene_id=row.scene_id,
                    run_id=run_id,
                    data={
                        "check": row.name,
                        "version": row.version,
                        "severity": row.severity,
                        "words": row.words,
                    },
                )
    return frozenset(row for row in ordered if _key(row) in kept)


async def timely_verdicts(conn: Connection, rows: Sequence[VerdictRow]) -> frozenset[VerdictRow]:
    """Those verdicts that are about what is current at this moment, as they would be kept."""
    if not rows:
        return frozenset()
    cursor = await conn.execute(
        "SELECT t.project_id, t.scene_id, t.name" + _TIMELY, _parameters(rows)
    )
    timely = _keys(await cursor.fetchall())
    return frozenset(row for row in rows if _key(row) in timely)


def _key(row: VerdictRow) -> _Key:
    return row.project_id, row.scene_id, row.name


async def take_turn(conn: Connection, project_ids: Set[UUID]) -> None:
    """Keep others from writing what is known of these projects' frames, until the end.

    Whoever writes verdicts or turns of the sweep takes it, and whoever moves addresses, whose
    verdicts the schema forgets. Locks of rows are not enough: rows that are not there yet cannot
    be locked, so that two writers would tell the same failure, or wait for each other for ever.

    Where the project's row is held as well (`hold_project`), it is held before the turn is taken;
    rows of scenes, versions and verdicts are locked last.

    Args:
        conn: In a transaction, whose end is the turn's.
        project_ids: Of projects; their turns are taken in one order.
    """
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('frame_checks/' || id, 0))"
        " FROM unnest(%s::text[]) AS id",
        (sorted(map(str, project_ids)),),
    )


async def _failing(conn: Connection, rows: Sequence[VerdictRow]) -> frozenset[_Key]:
    """Which of these checks failed by what is kept."""
    cursor = await conn.execute(
        "SELECT c.project_id, c.scene_id, c.name, c.passed"
        " FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS t(project_id, scene_id, name)"
        " JOIN frame_checks c USING (project_id, scene_id, name)",
        (
            [row.project_id for row in rows],
            [row.scene_id for row in rows],
            [row.name for row in rows],
        ),
    )
    return _keys(row for row in await cursor.fetchall() if not row["passed"])


async def _replace(conn: Connection, ordered: Sequence[VerdictRow]) -> frozenset[_Key]:
    """Write those that are not late, and give which these are."""
    cursor = await conn.execute(
        f"INSERT INTO frame_checks ({_COLUMNS}) SELECT {', '.join(f't.{n}' for n in _NAMES)}"
        + _TIMELY
        + " ON CONFLICT (project_id, scene_id, name) DO UPDATE SET version = excluded.version,"
        " passed = excluded.passed, severity = excluded.severity, words = excluded.words,"
        " checked_at = now() RETURNING project_id, scene_id, name",
        _parameters(ordered),
    )
    return _keys(await cursor.fetchall())


def _parameters(rows: Sequence[VerdictRow]) -> dict[str, list[object]]:
    return {name: [getattr(row, name) for row in rows] for name in (*_NAMES, "url")}


def _keys(found: Iterable[DictRow]) -> frozenset[_Key]:
    return frozenset((row["project_id"], row["scene_id"], row["name"]) for row in found)


async def verdicts_of_project(
    conn: Connection, project_id: UUID, names: Sequence[str] | None = None
) -> list[CheckedAt]:
    """The newest verdicts on a project's scenes, by scene and check.

    Args:
        conn: Any.
        project_id: Whose scenes; those that left the document are left out.
        names: Of checks; None for all.
    """
    cursor = await conn.execute(
        "SELECT c.project_id, c.scene_id, c.name, c.version, c.passed, c.severity, c.words,"
        " c.checked_at FROM frame_checks c"
        " JOIN scenes s ON s.project_id = c.project_id AND s.scene_id = c.scene_id"
        " WHERE c.project_id = %(project_id)s AND s.retired_at IS NULL"
        " AND (%(names)s::text[] IS NULL OR c.name = ANY(%(names)s))"
        " ORDER BY s.position, c.scene_id, c.name",
        {"project_id": project_id, "names": None if names is None else list(names)},
    )
    found = await cursor.fetchall()
    return [
        CheckedAt(VerdictRow(**{name: row[name] for name in _NAMES}), row["checked_at"])
        for row in found
    ]


async def verdicts_of_scenes(
    conn: Connection, project_id: UUID, scene_ids: Sequence[str]
) -> list[VerdictRow]:
    """The newest verdicts of all checks on some of a project's scenes."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM frame_checks WHERE project_id = %s AND scene_id = ANY(%s)",
        (project_id, list(scene_ids)),
    )
    return [VerdictRow(**row) for row in await cursor.fetchall()]


async def kept_verdicts(
    conn: Connection, name: str, like: Sequence[VerdictRow]
) -> frozenset[VerdictRow]:
    """The verdicts of one check that are kept of the scenes of these rows."""
    cursor = await conn.execute(
        f"SELECT {', '.join(f'c.{column}' for column in _NAMES)} FROM frame_checks c"
        " JOIN unnest(%s::uuid[], %s::text[]) AS t(project_id, scene_id)"
        "   ON t.project_id = c.project_id AND t.scene_id = c.scene_id WHERE c.name = %s",
        ([row.project_id for row in like], [row.scene_id for row in like], name),
    )
    return frozenset(VerdictRow(**row) for row in await cursor.fetchall())
