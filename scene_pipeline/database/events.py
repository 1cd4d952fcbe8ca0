"""The append-only feed `pipeline_events`.

A row is written in the same transaction as the change it tells of, so that the feed never says
more or less than what was committed.
"""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import Connection, Generation

EventKind = Literal[
    "generation_started",
    "generation_progress",
    "generation_complete",
    "generation_failed",
    "generation_fallback",
    "submit_resolved",
    "generation_paid_again",
    "version_recorded",
    "version_promoted",
    "version_reused",
    "version_healed",
    "version_removed",
    "addresses_changed",
    "drift_repaired",
    "frame_published",
    "frame_check_failed",
    "frame_check_passed",
    "project_imported",
    "project_settings_changed",
    "scene_locked",
    "scene_unlocked",
    "upload_started",
    "upload_progress",
    "upload_complete",
    "upload_failed",
    "asset_added",
    "asset_replaced",
    "asset_renamed",
    "asset_tagged",
    "asset_removed",
]


async def append_event(
    conn: Connection,
    kind: EventKind,
    *,
    project_id: UUID | None,
    scene_id: str | None = None,
    generation_id: UUID | None = None,
    import_id: UUID | None = None,
    run_id: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append one event to the feed, inside the caller's transaction."""
    await conn.execute(
        "INSERT INTO pipeline_events"
        " (kind, project_id, scene_id, generation_id, import_id, run_id, data)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (kind, project_id, scene_id, generation_id, import_id, run_id, Jsonb(dict(data or {}))),
    )


async def append_progress(
    conn: Connection, generation_id: UUID, run_id: str, data: Mapping[str, Any]
) -> None:
    """Append what a provider said of a request that is under way; nothing once it is not."""
    await conn.execute(
        "INSERT INTO pipeline_events (kind, project_id, scene_id, generation_id, run_id, data)"
        " SELECT 'generation_progress', project_id, scene_id, id, %s, %s FROM generations"
        " WHERE id = %s AND state = 'submitted'",
        (run_id, Jsonb(dict(data)), generation_id),
    )


async def append_generation_event(
    conn: Connection,
    generation: Generation,
    kind: EventKind,
    *,
    run_id: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append an event about a generation, by its own run unless another one is named."""
    await append_event(
        conn,
        kind,
        project_id=generation.project_id,
        scene_id=generation.scene_id,
        generation_id=generation.id,
        run_id=run_id or generation.run_id,
        data=data,
    )
