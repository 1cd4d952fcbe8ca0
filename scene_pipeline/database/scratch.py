"""Scratch projects: a drill's rows, marked from their first moment and removed as a whole.

Belongs here: marking, finding, claiming, reading and removing them. Does not belong here: what is
drilled (`scene_pipeline.drill`). Every statement that deletes asks for the mark first, so that no
other project can be hit, whatever its key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection
from scene_pipeline.database.session import connect
from scene_pipeline.errors import NotFoundError, UsageError

_OWN_GENERATIONS = "SELECT id FROM generations WHERE project_id = %(id)s"
_REMOVALS: tuple[tuple[str, LiteralString], ...] = (
    ("budget_reservations", f"generation_id IN ({_OWN_GENERATIONS})"),
    ("pipeline_events", "project_id = %(id)s"),
    ("regeneration_requests", "project_id = %(id)s"),
    # A drill adds nothing to the library: these stand here for the references between the tables.
    ("asset_imports", "project_id = %(id)s"),
    ("user_assets", "project_id = %(id)s"),
    ("derivatives", "starts_with(source_key, %(prefix)s)"),
    ("reference_pictures", "project_id = %(id)s"),
    ("storyboards", "project_id = %(id)s"),
    ("storyboard_changes", "project_id = %(id)s"),
    ("report_files", "project_id = %(id)s"),
    ("frame_checks", "project_id = %(id)s"),
    ("unasked_addresses", "project_id = %(id)s"),
    ("untold_frames", "project_id = %(id)s"),
    ("scene_images", "project_id = %(id)s"),
    ("former_addresses", "project_id = %(id)s"),
    ("scene_heads", "project_id = %(id)s"),
    ("alerts", "project_id = %(id)s"),
    ("launches", "project_id = %(id)s"),
    ("generation_images", f"generation_id IN ({_OWN_GENERATIONS})"),
    ("generations", "project_id = %(id)s"),
    ("scenes", "project_id = %(id)s"),
    ("inbox_files", "project_id = %(id)s"),
    (
        "budgets",
        "(scope = 'project' AND key = %(id)s::text) OR (scope = 'day' AND key = %(key)s)"
        " OR (scope = 'run' AND starts_with(key, %(key)s || ':'))",
    ),
    ("storage_copies", "starts_with(key, %(prefix)s)"),
    ("storage_objects", "starts_with(key, %(prefix)s)"),
    ("projects", "id = %(id)s AND is_scratch"),
)
"""Tables and whose rows, in the order in which references allow it."""

REMOVED_TABLES: frozenset[str] = frozenset(name for name, _ in _REMOVALS)
"""Every table that may hold rows of a scratch project."""


@dataclass(frozen=True, slots=True)
class ScratchProject:
    """A drill's project."""

    id: UUID
    key: str
    created_at: datetime

    @property
    def prefix(self) -> str:
        """What the keys of all its objects begin with."""
        return f"projects/{self.id}/"


@dataclass(frozen=True, slots=True)
class SceneEvidence:
    """What the rows and the document say of one scene."""

    scene_id: str
    generation_states: tuple[str, ...]
    error_code: str | None
    """Of the newest generation."""
    error_next_action: str | None
    request_count: int
    """Generations that have the provider's request id."""
    cost_micros: int
    start_frame: str | None
    """What the document holds."""
    versions: tuple["VersionEvidence", ...]


@dataclass(frozen=True, slots=True)
class VersionEvidence:
    """One recorded version."""

    version: int
    is_current: bool
    is_rejected: bool
    storage_status: str
    storage_path: str | None
    storage_url: str
    sha256: str
    content_type: str


async def mark_scratch(conn: Connection, key: str) -> ScratchProject:
    """Mark a project that was made in this same transaction, and archive it: no sensor takes it up.

    Raises:
        UsageError: It is older, so it is somebody's.
    """
    cursor = await conn.execute(
        "UPDATE projects SET is_scratch = true, archived_at = now()"
        " WHERE key = %s AND created_at = now() RETURNING id, key, created_at",
        (key,),
    )
    row = await cursor.fetchone()
    if row is None:
        message = f"Project {key!r} was there before; a drill uses none but its own."
        raise UsageError(message, code="project_exists", next_action="Run the drill again.")
    return ScratchProject(**row)


async def list_scratch(conn: Connection) -> list[ScratchProject]:
    """Every scratch project, oldest first."""
    cursor = await conn.execute(
        "SELECT id, key, created_at FROM projects WHERE is_scratch ORDER BY created_at, key"
    )
    return [ScratchProject(**row) for row in await cursor.fetchall()]


async def find_scratch(conn: Connection, key: str) -> ScratchProject | None:
    """The scratch project of that key, or None."""
    return next((found for found in await list_scratch(conn) if found.key == key), None)


@contextmanager
def claim_scratch(url: str, key: str) -> Iterator[bool]:
    """Hold a drill's key as long as the block lasts; gives False where another process holds it.

    A killed process loses its claim at once, because PostgreSQL ties it to the connection.

    Raises:
        DatabaseError: It cannot be reached.
    """
    with connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended('drill:' || %s, 0)) AS is_ours", (key,)
        ).fetchone()
        yield bool(row and row["is_ours"])


async def registered_keys(conn: Connection, project: ScratchProject) -> list[str]:
    """Keys of every object that was ever about to be written for a scratch project."""
    cursor = await conn.execute(
        "SELECT key FROM storage_objects WHERE starts_with(key, %s) ORDER BY key",
        (project.prefix,),
    )
    return [row["key"] for row in await cursor.fetchall()]


async def remove_scratch(conn: Connection, project: ScratchProject) -> int:
    """Delete every row of a scratch project, in one transaction; its objects must be gone.

    Returns:
        How many rows there were.

    Raises:
        NotFoundError: There is no such project, or it is not a scratch project; nothing is deleted.
    """
    removed = 0
    values = {"id": project.id, "key": project.key, "prefix": project.prefix}
    async with conn.transaction():
        cursor = await conn.execute(
            "SELECT 1 FROM projects WHERE id = %(id)s AND key = %(key)s AND is_scratch FOR UPDATE",
            values,
        )
        if await cursor.fetchone() is None:
            message = f"Project {project.key!r} is not a drill's."
            raise NotFoundError(message, code="not_scratch")
        # Versions are kept for ever but for this and retention.
        await conn.execute("SELECT set_config('scene_pipeline.retention', 'on', true)")
        for table, condition in _REMOVALS:
            cursor = await conn.execute(f"DELETE FROM {table} WHERE {condition}".encode(), values)
            removed += cursor.rowcount
    return removed


async def booked_micros(conn: Connection, project: ScratchProject) -> dict[str, int]:
    """What a drill's own budgets hold as spent or still reserved, by scope ("project", "day")."""
    cursor = await conn.execute(
        "SELECT scope, sum(spent_micros + reserved_micros)::bigint AS booked FROM budgets"
        " WHERE (scope = 'project' AND key = %s) OR (scope = 'day' AND key = %s) GROUP BY scope",
        (str(project.id), project.key),
    )
    return {row["scope"]: row["booked"] for row in await cursor.fetchall()}


async def scene_evidence(conn: Connection, project: ScratchProject) -> dict[str, SceneEvidence]:
    """What is recorded of every scene of a scratch project, by scene id."""
    cursor = await conn.execute(
        "SELECT s.scene_id, scene_entry(p.master_json, s.scene_id) ->> 'scene_start_frame' AS url,"
        " coalesce(array_agg(g.state ORDER BY g.seq) FILTER (WHERE g.id IS NOT NULL), '{}')"
        "   AS states,"
        " (array_agg(g.error_code ORDER BY g.seq DESC))[1] AS error_code,"
        " (array_agg(g.error_next_action ORDER BY g.seq DESC))[1] AS next_action,"
        " count(g.request_id) AS requests, coalesce(sum(g.cost_micros), 0)::bigint AS cost"
        " FROM scenes s JOIN projects p ON p.id = s.project_id"
        " LEFT JOIN generations g ON g.project_id = s.project_id AND g.scene_id = s.scene_id"
        " WHERE s.project_id = %s GROUP BY s.scene_id, p.master_json",
        (project.id,),
    )
    scenes = await cursor.fetchall()
    cursor = await conn.execute(
        "SELECT scene_id, version, is_current, rejection IS NOT NULL AS is_rejected,"
        " storage_status, storage_path, storage_url, sha256, content_type"
        " FROM scene_images WHERE project_id = %s ORDER BY version",
        (project.id,),
    )
    versions: dict[str, list[VersionEvidence]] = {}
    for row in await cursor.fetchall():
        versions.setdefault(row.pop("scene_id"), []).append(VersionEvidence(**row))
    return {
        row["scene_id"]: SceneEvidence(
            scene_id=row["scene_id"],
            generation_states=tuple(row["states"]),
            error_code=row["error_code"],
            error_next_action=row["next_action"],
            request_count=row["requests"],
            cost_micros=row["cost"],
            start_frame=row["url"],
            versions=tuple(versions.get(row["scene_id"], ())),
        )
        for row in scenes
    }
