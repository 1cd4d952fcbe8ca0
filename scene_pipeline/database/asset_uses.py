"""Who needs an asset: documents, unfinished generations, requests that wait.

A document may name it by its id, or by the address or key of its bytes or of another form of them
(thumbnail, WebP). The latter count only while no other row keeps the same object: then the bytes
stay, and so do their other forms, whatever becomes of this asset.

Belongs here: SQL. Does not belong here: what follows (`pipeline.library.removing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, LiteralString

from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.rows import OPEN, Connection

UseKind = Literal["document", "generation", "request"]
MAX_USES = 50
"""How many are told."""


@dataclass(frozen=True, slots=True)
class AssetUse:
    """One project that needs an asset."""

    project_key: str
    what: UseKind
    """Its document names it; or something unfinished is to be sent it, or asks for it."""
    scene_ids: tuple[str, ...]
    """The scenes concerned; empty where the document names it for all of them, or elsewhere."""


_NAMES: LiteralString = "EXISTS (SELECT 1 FROM unnest(%(needles)s::text[]) n WHERE position(n IN "
_USES: LiteralString = (
    "WITH named AS ("
    "  SELECT p.id AS project_id, 'document' AS what, s.scene_id"
    "   FROM projects p CROSS JOIN LATERAL (SELECT p.master_json::text AS body OFFSET 0) d"
    "   LEFT JOIN scenes s ON s.project_id = p.id AND s.retired_at IS NULL"
    f"    AND {_NAMES} s.content::text) > 0)"
    f"   WHERE NOT p.is_scratch AND {_NAMES} d.body) > 0)"
    " UNION SELECT project_id, 'document', NULL FROM reference_pictures"
    # A name by address may be settled on any of the assets that share the object: only a name by id
    # needs this one.
    "   WHERE (asset_id = %(asset_id)s AND position(%(asset_id)s IN reference) > 0)"
    "    OR storage_key = ANY(%(needles)s)"
    " UNION SELECT g.project_id, 'generation', g.scene_id FROM generations g"
    f"   WHERE g.{OPEN} AND {_NAMES} g.reference_images::text || g.parameters::text"
    "     || g.content::text) > 0)"
    " UNION SELECT r.project_id, 'request', r.scene_id FROM regeneration_requests r"
    f"   WHERE r.state IN ('pending', 'claimed') AND {_NAMES} r.overrides::text) > 0))"
    " SELECT p.key AS project_key, n.what,"
    "   array_remove(array_agg(DISTINCT n.scene_id), NULL) AS scene_ids"
    " FROM named n JOIN projects p ON p.id = n.project_id"
    " GROUP BY p.key, n.what ORDER BY p.key, n.what LIMIT %(limit)s"
)


async def lock_sole_keys(conn: Connection, asset: AssetRow) -> Sequence[str]:
    """As `sole_keys` of a locked asset, with the row of its object held until the caller's end."""
    await conn.execute(
        "SELECT 1 FROM storage_objects WHERE key = %s FOR UPDATE", (asset.storage_key,)
    )
    return await sole_keys(conn, asset)


async def sole_keys(conn: Connection, asset: AssetRow) -> Sequence[str]:
    """The keys that would die with an asset just now, its own and those of other forms.

    Returns:
        None where another row keeps the object.
    """
    cursor = await conn.execute(
        "SELECT refcount FROM storage_objects WHERE key = %s", (asset.storage_key,)
    )
    row = await cursor.fetchone()
    if asset.storage_key is None or row is None or row["refcount"] > 1:
        return ()
    cursor = await conn.execute(
        "SELECT storage_key FROM derivatives WHERE source_key = %s", (asset.storage_key,)
    )
    return (asset.storage_key, *(derived["storage_key"] for derived in await cursor.fetchall()))


async def asset_uses(conn: Connection, asset: AssetRow, keys: Sequence[str]) -> list[AssetUse]:
    """Who needs an asset, by project, at most MAX_USES.

    Args:
        conn: Of the caller.
        asset: An asset of the user's.
        keys: As `sole_keys` told; none: its bytes stay in any case.
    """
    cursor = await conn.execute(
        _USES,
        {
            "asset_id": asset.asset_id,
            "needles": [asset.asset_id, *keys],
            "limit": MAX_USES,
        },
    )
    return [
        AssetUse(row["project_key"], row["what"], tuple(row["scene_ids"]))
        for row in await cursor.fetchall()
    ]


async def projects_naming(conn: Connection, needles: Sequence[str]) -> Sequence[str]:
    """Keys of the projects in whose documents one of these texts occurs, at most MAX_USES."""
    cursor = await conn.execute(
        "SELECT p.key FROM projects p"
        " CROSS JOIN LATERAL (SELECT p.master_json::text AS body OFFSET 0) d"
        f" WHERE NOT p.is_scratch AND {_NAMES} d.body) > 0) ORDER BY p.key LIMIT %(limit)s",
        {"needles": list(needles), "limit": MAX_USES},
    )
    return [row["key"] for row in await cursor.fetchall()]
