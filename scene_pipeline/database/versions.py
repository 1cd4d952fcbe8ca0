"""Versions of a scene's frame, read: the current ones, a scene's, a generation's.

Belongs here: questions. Does not belong here: recording them (`recording`).
"""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection, VersionRow

_SELECT: LiteralString = """
SELECT i.id, i.project_id, i.scene_id, i.version, i.is_current, i.storage_path, i.storage_url,
       i.storage_status, i.file_size, i.content_type, i.width, i.height, i.sha256, i.thumbnail,
       i.generated_at, i.rejection, i.generation_id, g.provider, g.endpoint, g.prompt,
       g.scene_prompt, g.seed, g.cost_micros, g.cost_kind, g.token
FROM scene_images i JOIN generations g ON g.id = i.generation_id
"""


async def current_version(conn: Connection, project_id: UUID, scene_id: str) -> VersionRow | None:
    """The version that the document points to, or should."""
    cursor = await conn.execute(
        _SELECT + " WHERE i.project_id = %s AND i.scene_id = %s AND i.is_current",
        (project_id, scene_id),
    )
    row = await cursor.fetchone()
    return VersionRow(**row) if row else None


async def version_of_generation(conn: Connection, generation_id: UUID) -> VersionRow | None:
    """The version a generation stands for; None before it is recorded.

    Of several candidates the one that is current, else the first sound one, else the first.
    """
    return (await versions_of_generations(conn, [generation_id])).get(generation_id)


async def versions_of_generations(
    conn: Connection, generation_ids: Sequence[UUID]
) -> dict[UUID, VersionRow]:
    """The versions that generations stand for, by generation; those that have none are left out."""
    cursor = await conn.execute(
        f"SELECT DISTINCT ON (generation_id) * FROM ({_SELECT} WHERE i.generation_id = ANY(%s)) v"
        " ORDER BY generation_id, is_current DESC, rejection IS NOT NULL,"
        " storage_status = 'removed', version",
        (list(generation_ids),),
    )
    return {row["generation_id"]: VersionRow(**row) for row in await cursor.fetchall()}


async def current_versions(conn: Connection, project_id: UUID) -> dict[str, VersionRow]:
    """Every scene's current version of a project, by scene id."""
    cursor = await conn.execute(
        _SELECT + " WHERE i.project_id = %s AND i.is_current", (project_id,)
    )
    return {row["scene_id"]: VersionRow(**row) for row in await cursor.fetchall()}


async def list_versions(conn: Connection, project_id: UUID, scene_id: str) -> list[VersionRow]:
    """Every version of a scene, newest first."""
    cursor = await conn.execute(
        _SELECT + " WHERE i.project_id = %s AND i.scene_id = %s ORDER BY i.version DESC",
        (project_id, scene_id),
    )
    return [VersionRow(**row) for row in await cursor.fetchall()]


async def same_request_version(
    conn: Connection, project_id: UUID, scene_id: str, request_hash: str
) -> int | None:
    """The newest sound version of a scene that exactly this request made; None where there is none.

    One that retention gave up does not count: its picture is not to be had without paying.
    """
    cursor = await conn.execute(
        "SELECT i.version FROM scene_images i JOIN generations g ON g.id = i.generation_id"
        " WHERE g.request_hash = %s AND i.project_id = %s AND i.scene_id = %s"
        " AND i.rejection IS NULL AND i.storage_status <> 'removed'"
        " ORDER BY i.version DESC LIMIT 1",
        (request_hash, project_id, scene_id),
    )
    row = await cursor.fetchone()
    return int(row["version"]) if row else None


async def storage_key_of_former(
    conn: Connection, project_key: str, scene_id: str, version: int
) -> str | None:
    """Where the picture of a version that is not current is stored; None where it is not."""
    cursor = await conn.execute(
        "SELECT i.storage_path FROM scene_images i JOIN projects p ON p.id = i.project_id"
        " WHERE p.key = %s AND i.scene_id = %s AND i.version = %s AND NOT i.is_current"
        " AND i.storage_status = 'stored'",
        (project_key, scene_id, version),
    )
    row = await cursor.fetchone()
    return None if row is None else str(row["storage_path"])


async def urls_among(conn: Connection, project_id: UUID, urls: Sequence[str]) -> frozenset[str]:
    """Which of these are, or were, the address of any version of the project."""
    if not urls:
        return frozenset()
    cursor = await conn.execute(
        "SELECT u.url FROM unnest(%s::text[]) AS u(url) WHERE u.url IN ("
        " SELECT storage_url FROM scene_images WHERE project_id = %s"
        " UNION ALL SELECT original_fal_url FROM scene_images WHERE project_id = %s"
        " UNION ALL SELECT url FROM former_addresses WHERE project_id = %s)",
        (list(urls), project_id, project_id, project_id),
    )
    return frozenset([row["url"] for row in await cursor.fetchall()])
