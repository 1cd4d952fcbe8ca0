"""Files of the inbox as they were last looked at, and what is to be written beside them.

Belongs here: the rows of `inbox_files`, and the lock that makes one tick at a time. Does not belong
here: what a file says (`pipeline.inbox.watch`) and where it lies (`pipeline.inbox.sources`).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import Connection

InboxState = Literal["imported", "broken", "refused"]
"""imported: it is a project's document, maybe with scenes that are set aside.
broken: its content cannot be used; looked at again once it is another.
refused: its content could be used, but something else stands in the way; tried again by itself."""

FORGET_AFTER = "30 days"
"""How long the row of a file that is gone is kept: longer than a share is likely to be away."""
RETRY_AFTER = "1 minute"
"""How long a refused file rests before it is tried again."""


@dataclass(frozen=True, slots=True)
class DueFile:
    """A file that is new, changed, or to be tried again."""

    path: str
    sha256: str | None
    """Of the content that was last judged; None where there was none."""
    state: InboxState | None
    """What came of that; None for a file that is new."""


@dataclass(frozen=True, slots=True)
class DueOutput:
    """A document that changed since it was last written beside its file."""

    path: str
    project_id: UUID
    own_outputs: Sequence[str]
    """Digests that the file beside may have and still be ours."""


@asynccontextmanager
async def inbox_lock(conn: Connection, source: str) -> AsyncIterator[bool]:
    """Hold a source for oneself, as long as the context and the connection last.

    A session lock, so that a tick that dies gives it back with its connection.

    Yields:
        False where somebody else holds it.
    """
    name = f"inbox:{source}"
    async with conn.transaction():
        cursor = await conn.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS is_ours", (name,)
        )
        row = await cursor.fetchone()
    is_ours = bool(row and row["is_ours"])
    try:
        yield is_ours
    finally:
        if is_ours and not conn.closed:
            async with conn.transaction():
                await conn.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


async def note_presence(conn: Connection, source: str, paths: Sequence[str]) -> None:
    """Note which files are gone or back; only rows for which that is news are written.

    Args:
        conn: The caller's transaction.
        source: The inbox.
        paths: Every file that is there.
    """
    await conn.execute(
        "UPDATE inbox_files f SET missing_since = CASE WHEN f.missing_since IS NULL THEN now() END"
        " WHERE f.source = %s AND (f.missing_since IS NULL) <> (f.path = ANY(%s::text[]))",
        (source, list(paths)),
    )
    await conn.execute(
        "DELETE FROM inbox_files WHERE source = %s AND missing_since < now() - %s::interval",
        (source, FORGET_AFTER),
    )


async def due_files(
    conn: Connection, source: str, fingerprints: Mapping[str, str], limit: int
) -> list[DueFile]:
    """Which of these files are new, changed, or refused some time ago.

    Args:
        conn: The caller's transaction.
        source: The inbox.
        fingerprints: By path, of every file that may be looked at.
        limit: Most files to return; new ones first, then those that were looked at longest ago.
    """
    cursor = await conn.execute(
        "SELECT t.path, f.sha256, f.state"
        " FROM unnest(%(paths)s::text[], %(fingerprints)s::text[]) AS t(path, fingerprint)"
        " LEFT JOIN inbox_files f ON f.source = %(source)s AND f.path = t.path"
        " WHERE f.path IS NULL OR f.fingerprint <> t.fingerprint"
        "    OR (f.state = 'refused' AND f.seen_at < now() - %(retry_after)s::interval)"
        " ORDER BY f.seen_at NULLS FIRST, t.path LIMIT %(limit)s",
        {
            "source": source,
            "paths": list(fingerprints),
            "fingerprints": list(fingerprints.values()),
            "retry_after": RETRY_AFTER,
            "limit": limit,
        },
    )
    return [DueFile(**row) for row in await cursor.fetchall()]


async def record_file(
    conn: Connection,
    source: str,
    path: str,
    *,
    fingerprint: str,
    sha256: str | None,
    state: InboxState,
    problems: Sequence[Mapping[str, Any]],
    project_id: UUID | None,
) -> None:
    """Keep what came of a file, in the transaction of what was done with it.

    A file that is broken or refused after it was imported stays bound to its project. Other content
    makes its document due to be written again, since it is written in the layout of the file.
    """
    await conn.execute(
        "INSERT INTO inbox_files AS f (source, path, fingerprint, sha256, state, problems,"
        " project_id) VALUES (%(source)s, %(path)s, %(fingerprint)s, %(sha256)s, %(state)s,"
        " %(problems)s, %(project_id)s)"
        " ON CONFLICT (source, path) DO UPDATE SET fingerprint = excluded.fingerprint,"
        " sha256 = excluded.sha256, state = excluded.state, problems = excluded.problems,"
        " project_id = coalesce(excluded.project_id, f.project_id),"
        " written_revision = CASE WHEN f.sha256 = excluded.sha256 THEN f.written_revision END,"
        " missing_since = NULL, seen_at = now()",
        {
            "source": source,
            "path": path,
            "fingerprint": fingerprint,
            "sha256": sha256,
            "state": state,
            "problems": Jsonb([dict(problem) for problem in problems]),
            "project_id": project_id,
        },
    )


async def note_same_content(conn: Connection, source: str, path: str, fingerprint: str) -> None:
    """Keep that a file looks different from outside and says the same."""
    await conn.execute(
        "UPDATE inbox_files SET fingerprint = %s, seen_at = now() WHERE source = %s AND path = %s",
        (fingerprint, source, path),
    )


async def other_file_of(conn: Connection, source: str, path: str, project_id: UUID) -> str | None:
    """Another file of the same inbox that is there and bound to the project, or None."""
    cursor = await conn.execute(
        "SELECT path FROM inbox_files WHERE project_id = %s AND source = %s AND path <> %s"
        " AND missing_since IS NULL ORDER BY path LIMIT 1",
        (project_id, source, path),
    )
    row = await cursor.fetchone()
    return str(row["path"]) if row else None


async def due_outputs(conn: Connection, source: str, limit: int) -> list[DueOutput]:
    """Files whose project's document changed since it was written beside them.

    A file that is gone gets nothing any more. Those that could not be written come last, so that
    they hold up no others.
    """
    cursor = await conn.execute(
        "SELECT f.path, f.project_id, f.own_outputs FROM inbox_files f"
        " JOIN projects p ON p.id = f.project_id"
        " WHERE f.source = %s AND f.missing_since IS NULL"
        " AND p.revision > coalesce(f.written_revision, -1)"
        " ORDER BY f.output_failed_at NULLS FIRST, f.path LIMIT %s",
        (source, limit),
    )
    return [DueOutput(**row) for row in await cursor.fetchall()]


async def intend_output(conn: Connection, source: str, path: str, digests: Sequence[str]) -> None:
    """Commit what the file beside will hold, so that after a crash it is known to be ours.

    Args:
        conn: The caller's transaction.
        source: The inbox.
        path: The file.
        digests: Of what stands there, where that is ours, and of what is about to be written.
    """
    await conn.execute(
        "UPDATE inbox_files SET own_outputs = %s WHERE source = %s AND path = %s",
        (list(digests), source, path),
    )


async def record_output(
    conn: Connection, source: str, path: str, *, sha256: str, revision: int
) -> None:
    """Keep that the document of this revision lies beside the file."""
    await conn.execute(
        "UPDATE inbox_files SET own_outputs = ARRAY[%s], written_revision = %s,"
        " output_failed_at = NULL WHERE source = %s AND path = %s",
        (sha256, revision, source, path),
    )


async def note_output_failure(
    conn: Connection, source: str, path: str, *, is_everywhere: bool
) -> datetime:
    """Keep that the document cannot be written beside a file.

    Args:
        conn: The caller's transaction.
        source: The inbox.
        path: The file beside which it was tried.
        is_everywhere: Whether the reason concerns the whole inbox.

    Returns:
        Since when that is so: of this file, or of the first one of the inbox.
    """
    cursor = await conn.execute(
        "UPDATE inbox_files SET output_failed_at = coalesce(output_failed_at, now())"
        " WHERE source = %s AND path = %s RETURNING output_failed_at",
        (source, path),
    )
    row = await cursor.fetchone()
    if row is None or is_everywhere:
        cursor = await conn.execute(
            "SELECT coalesce(min(output_failed_at), now()) AS output_failed_at FROM inbox_files"
            " WHERE source = %s",
            (source,),
        )
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101  # an aggregate gives one row
    since: datetime = row["output_failed_at"]
    return since
