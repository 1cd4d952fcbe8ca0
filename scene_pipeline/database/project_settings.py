"""What people set of a project besides its document: refreshing, what is kept, the archive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import OPEN, Connection, GenerationState


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """A project's settings, with the counts that they bear upon."""

    project_id: UUID
    key: str
    title: str | None
    origin: str | None
    """Where its file lay when it was imported."""
    revision: int
    auto_refresh: bool
    archived_at: datetime | None
    is_scratch: bool
    created_at: datetime
    scene_count: int
    locked_scenes: int
    chosen_scenes: int
    """Scenes whose current version was chosen by hand although it was made from other words."""
    keep_versions: int | None
    """The newest versions of each scene that are kept; None as the installation says."""
    keep_days: float | None
    """Versions younger than this are kept; None as the installation says."""
    fallbacks: Any
    """As they stand in the row, which other programs write, too (`pipeline.projects.fallbacks`)."""


@dataclass(frozen=True, slots=True)
class OpenGeneration:
    """A generation that is not finished."""

    id: UUID
    scene_id: str
    state: GenerationState


async def hold_project(conn: Connection, project_id: UUID) -> None:
    """Keep everybody from changing a project's row or document until the transaction ends.

    Rows that refer to the project can still be written.
    """
    await conn.execute("SELECT 1 FROM projects WHERE id = %s FOR NO KEY UPDATE", (project_id,))


async def read_project_settings(conn: Connection, key: str) -> ProjectSettings | None:
    """The settings of the project of that key, archived or not; None where there is none."""
    cursor = await conn.execute(
        "SELECT p.id AS project_id, p.key, p.master_json #>> '{project,title}' AS title, p.origin,"
        " p.revision, p.auto_refresh, p.archived_at, p.is_scratch, p.created_at,"
        " p.keep_versions, p.keep_days::float8 AS keep_days, p.fallbacks,"
        " count(s.scene_id)::int AS scene_count,"
        " count(*) FILTER (WHERE s.locked)::int AS locked_scenes,"
        " count(*) FILTER (WHERE s.is_chosen)::int AS chosen_scenes"
        " FROM projects p LEFT JOIN scene_status s ON s.project_id = p.id"
        " WHERE p.key = %s GROUP BY p.id",
        (key,),
    )
    row = await cursor.fetchone()
    return ProjectSettings(**row) if row else None


async def set_auto_refresh(conn: Connection, project_id: UUID, *, is_on: bool) -> bool:
    """Say whether edited scenes get a new frame by themselves; False where it was so already."""
    cursor = await conn.execute(
        "UPDATE projects SET auto_refresh = %(on)s WHERE id = %(id)s AND auto_refresh <> %(on)s",
        {"on": is_on, "id": project_id},
    )
    return cursor.rowcount == 1


async def set_kept(
    conn: Connection, project_id: UUID, *, keep_versions: int | None, keep_days: float | None
) -> bool:
    """Say what is kept of each scene; False where it was so already.

    Args:
        conn: Of the caller.
        project_id: The project.
        keep_versions: The newest versions; None for the installation's number.
        keep_days: What is younger; None for the installation's number.
    """
    cursor = await conn.execute(
        "UPDATE projects SET keep_versions = %(versions)s, keep_days = %(days)s WHERE id = %(id)s"
        " AND (keep_versions, keep_days)"
        "   IS DISTINCT FROM (%(versions)s::integer, %(days)s::numeric)",
        {"versions": keep_versions, "days": keep_days, "id": project_id},
    )
    return cursor.rowcount == 1


async def read_fallbacks(conn: Connection, project_id: UUID) -> Any:
    """Who else may make a project's frames, as it stands in the row; an empty list where nobody."""
    cursor = await conn.execute("SELECT fallbacks FROM projects WHERE id = %s", (project_id,))
    row = await cursor.fetchone()
    return row["fallbacks"] if row else []


async def set_fallbacks(
    conn: Connection, project_id: UUID, fallbacks: Sequence[Mapping[str, str]]
) -> bool:
    """Say who else may make a project's frames, in order; False where it was so already."""
    cursor = await conn.execute(
        "UPDATE projects SET fallbacks = %(list)s WHERE id = %(id)s AND fallbacks <> %(list)s",
        {"list": Jsonb([dict(entry) for entry in fallbacks]), "id": project_id},
    )
    return cursor.rowcount == 1


async def set_archived(conn: Connection, project_id: UUID, *, is_archived: bool) -> bool:
    """Close a project, or open it again; False where it was so already, or it is a drill's."""
    cursor = await conn.execute(
        "UPDATE projects SET archived_at = CASE WHEN %(archived)s THEN now() END"
        " WHERE id = %(id)s AND (archived_at IS NOT NULL) <> %(archived)s AND NOT is_scratch",
        {"archived": is_archived, "id": project_id},
    )
    return cursor.rowcount == 1


async def open_generations(conn: Connection, project_id: UUID) -> list[OpenGeneration]:
    """What is not finished in a project, oldest first."""
    cursor = await conn.execute(
        f"SELECT id, scene_id, state FROM generations WHERE project_id = %s AND {OPEN}"
        " ORDER BY seq",
        (project_id,),
    )
    return [OpenGeneration(**row) for row in await cursor.fetchall()]
