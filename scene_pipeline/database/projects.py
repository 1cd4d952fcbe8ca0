"""Projects and the scenes derived from their documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.rows import Connection, ProjectRow, SceneRow, SceneState
from scene_pipeline.errors import NotFoundError, quoted

_PROJECT: LiteralString = "id, key, revision, planned_revision, origin, archived_at, is_scratch"


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A project's document as it stands, and as it was imported."""

    project: ProjectRow
    master_json: dict[str, Any]
    imported_document: bytes | None
    scene_order: list[str]
    """Ids of the scenes as the last import had them."""


async def find_project(conn: Connection, key: str) -> ProjectRow | None:
    """The project of that key, or None."""
    cursor = await conn.execute(f"SELECT {_PROJECT} FROM projects WHERE key = %s", (key,))
    row = await cursor.fetchone()
    return ProjectRow(**row) if row else None


async def get_project(conn: Connection, key: str) -> ProjectRow:
    """The project of that key.

    Raises:
        NotFoundError: There is none.
    """
    project = await find_project(conn, key)
    if project is None:
        message = f"There is no project {key!r}."
        raise NotFoundError(message, code="project_unknown")
    return project


async def project_key(conn: Connection, project_id: UUID) -> str:
    """The key of a project, which never changes.

    Raises:
        NotFoundError: There is no such project.
    """
    cursor = await conn.execute("SELECT key FROM projects WHERE id = %s", (project_id,))
    row = await cursor.fetchone()
    if row is None:
        message = f"Project {project_id} does not exist."
        raise NotFoundError(message, code="project_unknown")
    return str(row["key"])


def unknown_scene(project_key: str, scene_id: str) -> NotFoundError:
    """The error for a scene that a project does not have."""
    return NotFoundError(
        f"Project {project_key!r} has no scene {scene_id!r}.",
        code="scene_unknown",
        next_action=f"See its scenes with `scene-pipeline status {quoted(project_key)}`.",
    )


async def list_projects(conn: Connection) -> list[ProjectRow]:
    """Every project that is not archived, by key."""
    cursor = await conn.execute(
        f"SELECT {_PROJECT} FROM projects WHERE archived_at IS NULL ORDER BY key"
    )
    return [ProjectRow(**row) for row in await cursor.fetchall()]


async def load_document(
    conn: Connection, project_id: UUID, *, for_update: bool = False
) -> StoredDocument:
    """Read a project's document, locking its row when it is about to be changed."""
    lock: LiteralString = " FOR UPDATE" if for_update else ""
    cursor = await conn.execute(
        f"SELECT {_PROJECT}, master_json, imported_document, scene_order FROM projects"
        f" WHERE id = %s{lock}",
        (project_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        message = f"Project {project_id} does not exist."
        raise NotFoundError(message, code="project_unknown")
    master_json = row.pop("master_json")
    imported = row.pop("imported_document")
    scene_order = row.pop("scene_order")
    return StoredDocument(ProjectRow(**row), master_json, imported, scene_order)


async def insert_project(
    conn: Connection,
    *,
    key: str,
    master_json: Mapping[str, Any],
    imported: bytes,
    scene_order: Sequence[str],
    origin: str | None,
) -> ProjectRow | None:
    """Create a project from an imported document; None where the key has just been taken."""
    cursor = await conn.execute(
        "INSERT INTO projects (key, master_json, imported_document, imported_revision,"
        " scene_order, origin) VALUES (%s, %s, %s, 1, %s, %s) ON CONFLICT (key) DO NOTHING"
        f" RETURNING {_PROJECT}",
        (key, Jsonb(dict(master_json)), imported, list(scene_order), origin),
    )
    row = await cursor.fetchone()
    return ProjectRow(**row) if row else None


async def replace_document(
    conn: Connection,
    project_id: UUID,
    *,
    master_json: Mapping[str, Any],
    imported: bytes,
    scene_order: Sequence[str],
) -> ProjectRow:
    """Put a newly imported document in the place of the old one, whose row is locked.

    The revision rises where it says something else, or names its scenes in another order.
    """
    changed: LiteralString = (
        "master_json IS DISTINCT FROM %(doc)s OR scene_order IS DISTINCT FROM %(scene_order)s"
    )
    cursor = await conn.execute(
        f"UPDATE projects SET revision = revision + ({changed})::int,"
        " master_json = %(doc)s, imported_document = %(imported)s, scene_order = %(scene_order)s,"
        f" imported_revision = revision + ({changed})::int"
        f" WHERE id = %(id)s RETURNING {_PROJECT}",
        {
            "doc": Jsonb(dict(master_json)),
            "imported": imported,
            "id": project_id,
            "scene_order": list(scene_order),
        },
    )
    row = await cursor.fetchone()
    if row is None:
        message = f"Project {project_id} does not exist."
        raise NotFoundError(message, code="project_unknown")
    return ProjectRow(**row)


async def save_master_json(
    conn: Connection,
    project_id: UUID,
    *,
    master_json: Mapping[str, Any],
    scene_order: Sequence[str],
    expected_revision: int,
) -> int | None:
    """Replace a document that still has the expected revision; one equal to it changes nothing.

    Returns:
        The revision now, or None where somebody else changed the document meanwhile.
    """
    cursor = await conn.execute(
        "UPDATE projects SET revision = revision + (master_json IS DISTINCT FROM %(doc)s)::int,"
        " master_json = %(doc)s, scene_order = %(scene_order)s"
        " WHERE id = %(id)s AND revision = %(expected)s RETURNING revision",
        {
            "doc": Jsonb(dict(master_json)),
            "scene_order": list(scene_order),
            "id": project_id,
            "expected": expected_revision,
        },
    )
    row = await cursor.fetchone()
    return int(row["revision"]) if row else None


_IS_NEWS: LiteralString = (
    "(s.content_hash IS DISTINCT FROM excluded.content_hash OR s.retired_at IS NOT NULL"
    " OR EXISTS (SELECT 1 FROM scene_images i WHERE i.project_id = s.project_id"
    "   AND i.scene_id = s.scene_id AND i.is_current"
    "   AND i.storage_url IS DISTINCT FROM %(start_frame)s))"
)
"""Whether a document says something new of a scene: its content, its return, or a lost URL."""


async def synchronise_scenes(
    conn: Connection, project_id: UUID, revision: int, scenes: Sequence[SceneRow]
) -> None:
    """Make the table `scenes` say what the document of this revision says.

    Scenes that are gone are retired, never deleted; one that comes back is taken up again. What is
    new, says something else about its picture or lost its URL becomes due for the sensor of
    changes, in the same transaction: a crash cannot come between noticing and doing.
    """
    async with conn.transaction():
        # Its row is written last; whoever moves addresses or promotes holds it before the scenes.
        await hold_project(conn, project_id)
        cursor = conn.cursor()
        await cursor.executemany(
            "INSERT INTO scenes AS s (project_id, scene_id, position, scene_prompt, content,"
            " content_hash, problem_code, problem_message, continuity_group, planned_revision,"
            " wanted_at) VALUES (%(project_id)s, %(scene_id)s, %(position)s, %(scene_prompt)s,"
            " %(content)s, %(content_hash)s, %(problem_code)s, %(problem_message)s,"
            " %(continuity_group)s, %(revision)s, now())"
            " ON CONFLICT (project_id, scene_id) DO UPDATE SET position = excluded.position,"
            " scene_prompt = excluded.scene_prompt, content = excluded.content,"
            " content_hash = excluded.content_hash, problem_code = excluded.problem_code,"
            " problem_message = excluded.problem_message,"
            " continuity_group = excluded.continuity_group, retired_at = NULL,"
            " planned_revision = excluded.planned_revision,"
            " content_changed_at = CASE WHEN s.content_hash IS DISTINCT FROM excluded.content_hash"
            "   THEN now() ELSE s.content_changed_at END,"
            f" wanted_at = CASE WHEN {_IS_NEWS} THEN now() ELSE s.wanted_at END,"
            f" want_attempts = CASE WHEN {_IS_NEWS} THEN 0 ELSE s.want_attempts END"
            " WHERE s.planned_revision <= excluded.planned_revision",
            [
                {
                    "project_id": project_id,
                    "scene_id": scene.scene_id,
                    "position": scene.position,
                    "scene_prompt": scene.scene_prompt,
                    "content": Jsonb(dict(scene.content)),
                    "content_hash": scene.content_hash,
                    "problem_code": scene.problem_code,
                    "problem_message": scene.problem_message,
                    "continuity_group": scene.continuity_group,
                    "revision": revision,
                    "start_frame": scene.start_frame,
                }
                for scene in scenes
            ],
        )
        await conn.execute(
            "UPDATE scenes SET retired_at = now(), wanted_at = NULL WHERE project_id = %s"
            " AND retired_at IS NULL AND planned_revision < %s AND NOT scene_id = ANY(%s)",
            (project_id, revision, [scene.scene_id for scene in scenes]),
        )
        await conn.execute(
            "UPDATE projects SET planned_revision = %s, document_problem = NULL"
            " WHERE id = %s AND planned_revision < %s",
            (revision, project_id, revision),
        )


async def retired_scenes(
    conn: Connection, project_id: UUID, scene_ids: Sequence[str]
) -> frozenset[str]:
    """Which of these scenes the document had once and has no longer."""
    cursor = await conn.execute(
        "SELECT scene_id FROM scenes WHERE project_id = %s AND scene_id = ANY(%s)"
        " AND retired_at IS NOT NULL",
        (project_id, list(scene_ids)),
    )
    return frozenset([row["scene_id"] for row in await cursor.fetchall()])


_STATE = ", ".join(SceneState.__dataclass_fields__)


async def scene_states(conn: Connection, project_id: UUID) -> list[SceneState]:
    """Where every scene of a project stands, in the document's order."""
    cursor = await conn.execute(
        f"SELECT {_STATE} FROM scene_status WHERE project_id = %s ORDER BY position, scene_id",
        (project_id,),
    )
    return [SceneState(**row) for row in await cursor.fetchall()]
