"""The steps of an import that a run carries out, each from the state it expects.

Whoever calls holds the import's lock (`imports.import_lock`); a step that finds the row moved by
somebody else changes nothing and says so. Events are written in the transaction of the change.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from scene_pipeline.database.imports import (
    IMPORT_COLUMNS,
    OPEN_IMPORT,
    ImportRow,
    append_import_event,
)
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.uploads import let_go_of_upload

_NOT_LAUNCHED_FOR = timedelta(seconds=120)
"""How long the sensor leaves an import alone once a run works on it; it asks about the run then."""


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """Why an attempt at an import came to nothing."""

    code: str
    message: str
    next_action: str
    is_retryable: bool


async def claim_import(conn: Connection, import_id: UUID, run_id: str) -> ImportRow | None:
    """Begin, or begin again where a dead run left off; None where it is settled meanwhile."""
    async with conn.transaction():
        cursor = await conn.execute(
            "UPDATE asset_imports i SET state = 'running', run_id = %s, bytes_received = 0,"
            " started_at = coalesce(started_at, now()), due_at = now() + %s"
            f" WHERE i.id = %s AND i.{OPEN_IMPORT} RETURNING {IMPORT_COLUMNS}",
            (run_id, _NOT_LAUNCHED_FOR, import_id),
        )
        found = await cursor.fetchone()
        if found is None:
            return None
        row = ImportRow(**found)
        await append_import_event(conn, row, "upload_started", {"kind": row.kind})
    return row


async def note_bytes(conn: Connection, row: ImportRow, received: int, total: int | None) -> None:
    """Say how much has arrived, of how much the other side announced."""
    async with conn.transaction():
        cursor = await conn.execute(
            "UPDATE asset_imports SET bytes_received = %s, bytes_total = %s, due_at = now() + %s"
            " WHERE id = %s AND state = 'running' AND run_id = %s",
            (received, total, _NOT_LAUNCHED_FOR, row.id, row.run_id),
        )
        if cursor.rowcount == 1:
            data = {"bytes_received": received, "bytes_total": total}
            await append_import_event(conn, row, "upload_progress", data)


async def finish_import(
    conn: Connection,
    row: ImportRow,
    *,
    asset_id: str,
    is_duplicate: bool,
    size_bytes: int,
    shown_source: str | None,
) -> bool:
    """Say that it is in the library; False where somebody else settled it.

    Args:
        conn: Outside of a transaction.
        row: As it was claimed.
        asset_id: What it became.
        is_duplicate: Whether the library had these bytes in this place already.
        size_bytes: What arrived.
        shown_source: The address as it is kept from now on, without anything secret.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "UPDATE asset_imports SET state = 'done', asset_id = %s, is_duplicate = %s,"
            " bytes_received = %s, source_url = %s, finished_at = now(), error_code = NULL,"
            " error_message = NULL, error_next_action = NULL, error_retryable = NULL"
            " WHERE id = %s AND state = 'running' AND run_id = %s",
            (asset_id, is_duplicate, size_bytes, shown_source, row.id, row.run_id),
        )
        if cursor.rowcount != 1:
            return False
        await let_go_of_upload(conn, row.upload_key)
        data = {"asset_id": asset_id, "is_duplicate": is_duplicate, "size_bytes": size_bytes}
        await append_import_event(conn, row, "upload_complete", data)
    return True


async def fail_import(
    conn: Connection,
    row: ImportRow,
    failure: ImportFailure,
    *,
    again_in: timedelta | None,
    shown_source: str | None,
) -> bool:
    """Say why it came to nothing; False where somebody else settled it.

    Args:
        conn: Outside of a transaction.
        row: As it was claimed, or as it was found where no run is left that would do it.
        failure: The reason.
        again_in: When the next attempt is due; None ends the import as failed.
        shown_source: The address as it is kept once the import has ended.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "UPDATE asset_imports SET state = CASE WHEN %(again)s::interval IS NULL THEN 'failed'"
            " ELSE 'pending' END, due_at = coalesce(now() + %(again)s::interval, due_at),"
            " finished_at = CASE WHEN %(again)s::interval IS NULL THEN now() END,"
            " launch_id = NULL, error_code = %(code)s, error_message = %(message)s,"
            " error_next_action = %(next_action)s, error_retryable = %(is_retryable)s,"
            " source_url = CASE WHEN %(again)s::interval IS NULL THEN %(shown)s ELSE source_url END"
            " WHERE id = %(id)s AND state = %(state)s AND run_id IS NOT DISTINCT FROM %(run)s",
            {
                "again": again_in,
                "code": failure.code,
                "message": failure.message[:1000],
                "next_action": failure.next_action[:1000],
                "is_retryable": failure.is_retryable,
                "shown": shown_source,
                "id": row.id,
                "state": row.state,
                "run": row.run_id,
            },
        )
        if cursor.rowcount != 1:
            return False
        if again_in is None:
            await let_go_of_upload(conn, row.upload_key)
        data = {
            "code": failure.code,
            "message": failure.message[:1000],
            "next_action": failure.next_action[:1000],
            "is_tried_again": again_in is not None,
        }
        await append_import_event(conn, row, "upload_failed", data)
    return True
