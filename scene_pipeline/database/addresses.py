"""Addresses of what lies in a store, in rows and documents, and their correction when it moves.

A version's row, the record of its former address and the document change in one transaction. The
document is written only where it holds the address that the row had, so that what an editor put
there is left alone.

Belongs here: SQL. Does not belong here: what the new address is (`storage`), when it may be written
(`pipeline.upkeep.storage_copy_addresses`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, LiteralString
from uuid import UUID

from scene_pipeline.database.events import append_event
from scene_pipeline.database.frame_checks import take_turn
from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.publishing import Publication, PublicationResult, publish
from scene_pipeline.database.rows import OPEN, Connection
from scene_pipeline.scenes.identity import ASSETS_PREFIX

AddressTable = Literal["storyboards", "report_files", "user_assets"]
"""Tables whose addresses stand in no document of ours."""
_COLUMNS: dict[AddressTable, tuple[LiteralString, LiteralString, LiteralString]] = {
    "storyboards": ("storyboards", "storage_path", "storage_url"),
    "report_files": ("report_files", "storage_path", "storage_url"),
    "user_assets": ("user_assets", "storage_key", "url"),
}


_LIBRARY_ADDRESS = rf"(https?://[^\s\"\\]*/({ASSETS_PREFIX}/[a-z-]+/[A-Za-z0-9_-]+\.[a-z0-9]+))"
"""In the text of a document: the address without its query, and the key that it ends with."""


@dataclass(frozen=True, slots=True)
class VersionAddress:
    """A version of a scene's frame and its address."""

    id: UUID
    generation_id: UUID
    scene_id: str
    version: int
    key: str
    url: str


@dataclass(frozen=True, slots=True)
class RowAddress:
    """A row of another table and its address."""

    id: int
    key: str
    url: str


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """An address in a document that leads to something of the library, wherever it is to be had."""

    project_key: str
    key: str
    url: str


@dataclass(frozen=True, slots=True)
class MovedVersion:
    """How it went with one version."""

    scene_id: str
    version: int
    document: PublicationResult | None
    """What became of the document; None for a version that is not the current one."""


async def projects_with_versions(
    conn: Connection, after: UUID | None, limit: int
) -> list[tuple[UUID, str]]:
    """Ids and keys of projects, archived or not, in the order of the ids."""
    cursor = await conn.execute(
        "SELECT p.id, p.key FROM projects p WHERE (%(after)s::uuid IS NULL OR p.id > %(after)s)"
        " AND EXISTS (SELECT 1 FROM scene_images i WHERE i.project_id = p.id)"
        " ORDER BY p.id LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [(row["id"], row["key"]) for row in await cursor.fetchall()]


async def version_addresses(
    conn: Connection, target: str, project_id: UUID, after: UUID | None, limit: int
) -> list[VersionAddress]:
    """A page of a project's versions whose objects are in that store.

    A version that is being made just now is left out: whoever makes it is about to write its
    address into the document.
    """
    cursor = await conn.execute(
        "SELECT i.id, i.generation_id, i.scene_id, i.version, i.storage_path AS key,"
        " i.storage_url AS url FROM scene_images i"
        " JOIN storage_copies c ON c.key = i.storage_path AND c.target = %(target)s"
        " JOIN generations g ON g.id = i.generation_id"
        " WHERE i.project_id = %(project)s AND i.storage_status = 'stored'"
        f" AND NOT g.{OPEN} AND (%(after)s::uuid IS NULL OR i.id > %(after)s)"
        " ORDER BY i.id LIMIT %(limit)s",
        {"target": target, "project": project_id, "after": after, "limit": limit},
    )
    return [VersionAddress(**row) for row in await cursor.fetchall()]


async def move_versions(
    conn: Connection, project_id: UUID, moves: Sequence[tuple[VersionAddress, str]]
) -> list[MovedVersion]:
    """Give versions of one project their new addresses, and correct the document.

    Args:
        conn: Not inside a transaction; this is one.
        project_id: The project of all of them.
        moves: Versions as they were seen, and where each is to be had now.

    Returns:
        What was changed; a version whose address changed meanwhile is left alone and not among it.
    """
    seen = {version.id: (version, url) for version, url in moves}
    async with conn.transaction():
        # In the order of promotions: the project first, its versions afterwards. Verdicts on the
        # addresses go with them, in any order: nobody else may be at those.
        await hold_project(conn, project_id)
        await take_turn(conn, {project_id})
        cursor = await conn.execute(
            "UPDATE scene_images i SET storage_url = t.url"
            " FROM unnest(%(ids)s::uuid[], %(old)s::text[], %(new)s::text[]) AS t(id, old, url)"
            " WHERE i.id = t.id AND i.storage_url = t.old AND i.storage_status = 'stored'"
            " RETURNING i.id, i.is_current",
            {
                "ids": list(seen),
                "old": [version.url for version, _ in seen.values()],
                "new": [url for _, url in seen.values()],
            },
        )
        is_current = {row["id"]: row["is_current"] for row in await cursor.fetchall()}
        moved = [seen[image_id] for image_id in is_current]
        await _keep_former(conn, project_id, [version for version, _ in moved])
        shown = [(version, url) for version, url in moved if is_current[version.id]]
        verdicts = await publish(conn, project_id, [_correction(*one) for one in shown])
        documents = {
            version.id: verdict for (version, _), verdict in zip(shown, verdicts, strict=True)
        }
        if moved:
            await append_event(
                conn,
                "addresses_changed",
                project_id=project_id,
                data={"versions": len(moved), "in_document": verdicts.count("written")},
            )
    return [
        MovedVersion(version.scene_id, version.version, documents.get(version.id))
        for version, _ in moved
    ]


async def _keep_former(
    conn: Connection, project_id: UUID, versions: Sequence[VersionAddress]
) -> None:
    await conn.execute(
        "INSERT INTO former_addresses (project_id, scene_id, url)"
        " SELECT %s, t.scene_id, t.url FROM unnest(%s::text[], %s::text[]) AS t(scene_id, url)"
        " ON CONFLICT DO NOTHING",
        (
            project_id,
            [version.scene_id for version in versions],
            [version.url for version in versions],
        ),
    )


def _correction(version: VersionAddress, url: str) -> Publication:
    return Publication(
        generation_id=version.generation_id,
        scene_id=version.scene_id,
        scene_prompt="",
        url=url,
        guard="heal",
        expected_url=version.url,
    )


async def documents_page(conn: Connection, after: UUID | None, limit: int) -> list[UUID]:
    """Ids of projects that are no drill's, archived or not, in their order."""
    cursor = await conn.execute(
        "SELECT id FROM projects WHERE NOT is_scratch"
        " AND (%(after)s::uuid IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def named_addresses(
    conn: Connection, target: str, project_ids: Sequence[UUID]
) -> list[NamedAddress]:
    """Addresses in these documents whose files of the library are in that store.

    Start frames are not among them: theirs is the document's own place for an address.
    """
    cursor = await conn.execute(
        "SELECT DISTINCT p.key AS project_key, m[2] AS key, m[1] AS url FROM projects p,"
        " regexp_matches(p.master_json::text, %(pattern)s, 'g') AS m"
        " JOIN storage_copies c ON c.key = m[2] AND c.target = %(target)s"
        " WHERE p.id = ANY(%(projects)s) ORDER BY p.key, m[2], m[1]",
        {"pattern": _LIBRARY_ADDRESS, "target": target, "projects": list(project_ids)},
    )
    return [NamedAddress(**row) for row in await cursor.fetchall()]


async def row_addresses(
    conn: Connection, table: AddressTable, target: str, after: int, limit: int
) -> list[RowAddress]:
    """A page of a table's rows whose objects are in that store, in the order of their ids."""
    name, key, url = _COLUMNS[table]
    cursor = await conn.execute(
        f"SELECT t.id, t.{key} AS key, t.{url} AS url FROM {name} t"
        f" JOIN storage_copies c ON c.key = t.{key} AND c.target = %(target)s"
        " WHERE t.id > %(after)s ORDER BY t.id LIMIT %(limit)s",
        {"target": target, "after": after, "limit": limit},
    )
    return [RowAddress(**row) for row in await cursor.fetchall()]


async def move_rows(
    conn: Connection, table: AddressTable, moves: Sequence[tuple[RowAddress, str]]
) -> int:
    """Give rows their new addresses; one that changed meanwhile is left alone.

    Returns:
        How many were changed.
    """
    name, key, url = _COLUMNS[table]
    cursor = await conn.execute(
        f"UPDATE {name} x SET {url} = t.url"
        " FROM unnest(%(ids)s::bigint[], %(keys)s::text[], %(old)s::text[], %(new)s::text[])"
        f" AS t(id, key, old, url) WHERE x.id = t.id AND x.{key} = t.key AND x.{url} = t.old",
        {
            "ids": [row.id for row, _ in moves],
            "keys": [row.key for row, _ in moves],
            "old": [row.url for row, _ in moves],
            "new": [url for _, url in moves],
        },
    )
    return cursor.rowcount
