"""Writing to the library: rows of `user_assets`, each change within the caller's transaction.

Belongs here: SQL. Does not belong here: what may be done to which asset (`pipeline.library`), and
the references of stored objects, which the caller counts (`database.objects`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.assets import ASSET_COLUMNS, AssetRow, AssetSource, asset_of
from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.identity import AssetKind

MAX_TAGS = 100
"""Of one asset, as the table has it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the library something lies: the same bytes are kept once in each place."""

    kind: AssetKind
    project_id: UUID | None = None
    client_id: str | None = None
    campaign_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class AssetBytes:
    """Facts of stored bytes, as an asset's row holds them."""

    url: str = field(repr=False)
    storage_key: str
    mime_type: str
    width: int | None
    height: int | None
    size_bytes: int
    sha256: str
    is_animated: bool
    model: str | None
    seed: int | None


_OF_PLACE: LiteralString = (
    "a.kind = %(kind)s AND a.project_id IS NOT DISTINCT FROM %(project_id)s"
    " AND coalesce(a.client_id, '') = coalesce(%(client_id)s, '')"
    " AND coalesce(a.campaign_id, '') = coalesce(%(campaign_id)s, '')"
    " AND coalesce(a.user_id, '') = coalesce(%(user_id)s, '')"
)


async def find_in_place(conn: Connection, sha256: str, place: Place) -> AssetRow | None:
    """The asset that has these bytes in this place of the library already."""
    cursor = await conn.execute(
        f"SELECT {ASSET_COLUMNS} FROM user_assets a LEFT JOIN projects p ON p.id = a.project_id"
        f" WHERE a.sha256 = %(sha256)s AND a.deleted_at IS NULL AND {_OF_PLACE}",
        {"sha256": sha256, **_place_values(place)},
    )
    row = await cursor.fetchone()
    return asset_of(row) if row else None


async def insert_asset(
    conn: Connection,
    asset_id: str,
    place: Place,
    stored: AssetBytes,
    *,
    name: str,
    tags: Sequence[str],
    source: AssetSource,
    source_url: str | None,
    metadata: Mapping[str, Any],
) -> bool:
    """Write an asset's row; the caller counts the reference to its object in the same transaction.

    Returns:
        False where the place has these bytes already: nothing was written.
    """
    values = {
        "asset_id": asset_id,
        **_place_values(place),
        **_bytes_values(stored),
        "name": name,
        "tags": list(tags),
        "source": source,
        "source_url": source_url,
        "metadata": Jsonb(dict(metadata)),
    }
    cursor = await conn.execute(
        f"INSERT INTO user_assets ({', '.join(values)})"
        f" VALUES ({', '.join(f'%({name})s' for name in values)})"
        " ON CONFLICT DO NOTHING".encode(),
        values,
    )
    return cursor.rowcount == 1


async def lock_asset(conn: Connection, asset_id: str) -> AssetRow | None:
    """An asset of the user's, held for the rest of the caller's transaction; no tombstone."""
    cursor = await conn.execute(
        f"SELECT {ASSET_COLUMNS} FROM user_assets a LEFT JOIN projects p ON p.id = a.project_id"
        " WHERE a.asset_id = %s AND a.deleted_at IS NULL FOR UPDATE OF a",
        (asset_id,),
    )
    row = await cursor.fetchone()
    return asset_of(row) if row else None


async def replace_bytes(conn: Connection, asset_id: str, stored: AssetBytes) -> None:
    """Give a locked asset other bytes, one `content_version` on."""
    values = _bytes_values(stored)
    await conn.execute(
        f"UPDATE user_assets SET {', '.join(f'{name} = %({name})s' for name in values)},"
        " content_version = content_version + 1, updated_at = now()"
        " WHERE asset_id = %(asset_id)s".encode(),
        {**values, "asset_id": asset_id},
    )


async def set_tags(conn: Connection, asset_id: str, tags: Sequence[str]) -> bool:
    """Give a locked asset these tags and no others; False where it had them."""
    cursor = await conn.execute(
        "UPDATE user_assets SET tags = %s, updated_at = now()"
        " WHERE asset_id = %s AND tags IS DISTINCT FROM %s",
        (list(tags), asset_id, list(tags)),
    )
    return cursor.rowcount == 1


async def set_name(conn: Connection, asset_id: str, name: str) -> bool:
    """Give a locked asset this name; False where it had it."""
    cursor = await conn.execute(
        "UPDATE user_assets SET name = %s, updated_at = now() WHERE asset_id = %s AND name <> %s",
        (name, asset_id, name),
    )
    return cursor.rowcount == 1


async def bury_asset(conn: Connection, asset_id: str) -> None:
    """Turn a locked asset into a tombstone; the caller releases its object."""
    await conn.execute(
        "UPDATE user_assets SET deleted_at = now(), updated_at = now() WHERE asset_id = %s",
        (asset_id,),
    )


def _place_values(place: Place) -> dict[str, Any]:
    return {name: getattr(place, name) for name in Place.__dataclass_fields__}


def _bytes_values(stored: AssetBytes) -> dict[str, Any]:
    return {name: getattr(stored, name) for name in AssetBytes.__dataclass_fields__}
