"""Where versions come from: the run, the request, the candidates beside them, the reused picture.

Belongs here: reading the ledger for people, from a scene and from a run or backfill. Does not
belong here: versions as the pipeline works with them (`versions`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection, GenerationState


@dataclass(frozen=True, slots=True)
class VersionOrigin:
    """What the ledger knows of how a version came to be."""

    image_id: UUID
    generation_id: UUID
    run_id: str | None
    """The Dagster run that planned it."""
    token: str
    """What it answers: a request, a backfill, a run; empty for a first frame."""
    image_index: int
    """Which of the candidates that were asked for at once, from 0."""
    image_count: int
    rung: int
    """How many attempts came before it: rejected ones, and those that a fallback took over from."""
    fallback: Mapping[str, Any] | None
    """Where one of the project's fallbacks made it: as in `rows.Generation`."""
    removed_at: datetime | None
    """When its picture was given up to make room."""
    reused_project_key: str | None
    """Whose picture stands in for one that would have been paid for."""
    reused_scene_id: str | None
    reused_version: int | None


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One generation of a run or backfill, with the version that came of it."""

    project_key: str
    scene_id: str
    generation_id: UUID
    run_id: str | None
    token: str
    state: GenerationState
    error_code: str | None
    error_message: str | None
    cost_micros: int
    versions: list[int]
    """Several where candidates were asked for; none as long as nothing is recorded."""
    storage_url: str | None
    """Of the current one of these versions, else of the first."""


async def version_origins(
    conn: Connection, project_id: UUID, scene_id: str
) -> dict[UUID, VersionOrigin]:
    """Where every version of a scene comes from, by the id of its row."""
    cursor = await conn.execute(
        "SELECT i.id AS image_id, g.id AS generation_id, g.run_id, g.token, i.image_index,"
        " g.image_count, g.rung, g.fallback, i.removed_at,"
        " p.key AS reused_project_key,"
        " r.scene_id AS reused_scene_id, r.version AS reused_version"
        " FROM scene_images i JOIN generations g ON g.id = i.generation_id"
        " LEFT JOIN scene_images r ON r.id = g.reused_image_id"
        " LEFT JOIN projects p ON p.id = r.project_id"
        " WHERE i.project_id = %s AND i.scene_id = %s",
        (project_id, scene_id),
    )
    return {row["image_id"]: VersionOrigin(**row) for row in await cursor.fetchall()}


async def generations_of_run(conn: Connection, run_id: str) -> list[LedgerLine]:
    """What a Dagster run planned, by project and scene."""
    return await _lines(conn, "g.run_id = %(name)s", run_id)


async def generations_of_backfill(conn: Connection, backfill_id: str) -> list[LedgerLine]:
    """What answers a backfill, whichever of its runs made it, by project and scene.

    A scene for which a generation was under way when the backfill reached it is answered by that
    one; the steps after a rejection carry the token of the first.
    """
    condition = (
        "split_part(g.token, '#', 1) = %(name)s OR g.id IN (SELECT q.generation_id"
        " FROM regeneration_requests q WHERE q.batch = 'order:' || %(name)s)"
    )
    return await _lines(conn, condition, backfill_id)


async def _lines(conn: Connection, condition: LiteralString, name: str) -> list[LedgerLine]:
    cursor = await conn.execute(
        "SELECT p.key AS project_key, g.scene_id, g.id AS generation_id, g.run_id, g.token,"
        " g.state, g.error_code, g.error_message,"
        " (coalesce(g.cost_micros, 0) + g.doubtful_micros)::bigint AS cost_micros,"
        " coalesce(i.versions, '{}') AS versions, i.storage_url"
        " FROM generations g JOIN projects p ON p.id = g.project_id LEFT JOIN LATERAL ("
        "   SELECT array_agg(v.version ORDER BY v.version) AS versions,"
        "   (array_agg(v.storage_url ORDER BY v.is_current DESC, v.version))[1] AS storage_url"
        "   FROM scene_images v WHERE v.generation_id = g.id) i ON true"
        f" WHERE {condition} ORDER BY p.key, g.scene_id, g.seq",
        {"name": name},
    )
    return [LedgerLine(**row) for row in await cursor.fetchall()]
