"""Verdicts of checks on scenes' frames: the newest of each check, and which URLs are to be asked.

Belongs here: SQL. Does not belong here: coming to a verdict (`pipeline.checking`), what it is
judged by (`checked_frames`).
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID

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


@dataclass(frozen=True, slots=True)
class CheckedAt:
    """A verdict and when it was found."""

    row: VerdictRow
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class CurrentAddress:
    """A current version in our store, whose address readers are promised."""

    project_id: UUID
    project_key: str
    scene_id: str
    version: int
    url: str
    sha256: str
    size_bytes: int


_Key = tuple[UUID, str, str]
"""A project, a scene of it, and a check."""
_NAMES = tuple(VerdictRow.__dataclass_fields__)
_COLUMNS = ", ".join(_NAMES)


async def save_verdicts(
    conn: Connection, rows: Sequence[VerdictRow], *, run_id: str | None = None
) -> None:
    """Keep verdicts in the place of older ones of the same checks and scenes, and feed what turned.

    A check that fails now and did not before is an event, and one that passes again; that all is
    well from the first is none. Event and verdict are committed together.

    Args:
        conn: Any.
        rows: Of one check and scene the last one counts.
        run_id: Dagster's id of the run that found them.
    """
    newest = {(row.project_id, row.scene_id, row.name): row for row in rows}
    if not newest:
        return
    ordered = [newest[key] for key in sorted(newest, key=str)]
    async with conn.transaction():
        await _take_turn(conn, {row.project_id for row in ordered})
        failing = await _failing(conn, ordered)
        await _replace(conn, ordered)
        for row in ordered:
            if row.passed is (_key(row) in failing):
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


def _key(row: VerdictRow) -> _Key:
    return row.project_id, row.scene_id, row.name


async def _take_turn(conn: Connection, project_ids: Set[UUID]) -> None:
    """Keep other writers of these projects out until the transaction ends.

    Locks of rows do not: rows that are not there yet cannot be locked, so that two writers would
    tell the same failure, or wait for each other for ever.
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
    return frozenset(
        (row["project_id"], row["scene_id"], row["name"])
        for row in await cursor.fetchall()
        if not row["passed"]
    )


async def _replace(conn: Connection, ordered: Sequence[VerdictRow]) -> None:
    await conn.execute(
        f"INSERT INTO frame_checks ({_COLUMNS}) SELECT {_COLUMNS} FROM"
        " unnest(%(project_id)s::uuid[], %(scene_id)s::text[], %(name)s::text[],"
        " %(version)s::integer[], %(passed)s::boolean[], %(severity)s::text[], %(words)s::text[])"
        f" AS t({_COLUMNS})"
        " ON CONFLICT (project_id, scene_id, name) DO UPDATE SET version = excluded.version,"
        " passed = excluded.passed, severity = excluded.severity, words = excluded.words,"
        " checked_at = now()",
        {name: [getattr(row, name) for row in ordered] for name in _NAMES},
    )


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


async def save_unasked(conn: Connection, addresses: Sequence[CurrentAddress]) -> None:
    """Keep that it was the turn of addresses of which nobody could be asked: it has passed."""
    # In one order, so that two writers never wait for each other.
    ordered = sorted(addresses, key=lambda one: (str(one.project_id), one.scene_id))
    await conn.execute(
        "INSERT INTO unasked_addresses (project_id, scene_id, version)"
        " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::integer[])"
        " ON CONFLICT (project_id, scene_id) DO UPDATE SET version = excluded.version,"
        " tried_at = excluded.tried_at",
        (
            [one.project_id for one in ordered],
            [one.scene_id for one in ordered],
            [one.version for one in ordered],
        ),
    )


_CURRENT: LiteralString = """
SELECT i.project_id, p.key AS project_key, i.scene_id, i.version, i.storage_url AS url, i.sha256,
       i.file_size AS size_bytes
FROM scene_images i JOIN projects p ON p.id = i.project_id AND NOT p.is_scratch
LEFT JOIN frame_checks c ON c.project_id = i.project_id AND c.scene_id = i.scene_id
    AND c.name = %(name)s AND c.version = i.version
LEFT JOIN unasked_addresses a ON a.project_id = i.project_id AND a.scene_id = i.scene_id
    AND a.version = i.version
WHERE i.is_current AND i.storage_status = 'stored' AND i.storage_url ~ '^https?://'
"""
"""With what was found last time, and when nobody could be asked. An object in memory has no address
that anybody could ask."""
_OLDEST_FIRST: LiteralString = " ORDER BY greatest(c.checked_at, a.tried_at) NULLS FIRST"


async def due_addresses(conn: Connection, name: str, limit: int) -> list[CurrentAddress]:
    """Addresses to be asked next, of all projects but drills: archived ones have readers too.

    Those that failed last time come first, in at most half of the number, so that a repair shows
    soon; then those whose turn was longest ago, before all others those that never had one. A turn
    counts also where nobody could be asked.

    Args:
        conn: Any.
        name: Of the check whose verdicts say when an address was asked.
        limit: How many.
    """
    values = {"name": name, "failed": limit // 2, "limit": limit}
    cursor = await conn.execute(
        _CURRENT + " AND NOT c.passed" + _OLDEST_FIRST + " LIMIT %(failed)s", values
    )
    due = [CurrentAddress(**row) for row in await cursor.fetchall()]
    cursor = await conn.execute(
        _CURRENT + _OLDEST_FIRST + ", p.key, i.scene_id LIMIT %(limit)s", values
    )
    seen = {(address.project_id, address.scene_id) for address in due}
    for row in await cursor.fetchall():
        if len(due) < limit and (row["project_id"], row["scene_id"]) not in seen:
            due.append(CurrentAddress(**row))
    return due
