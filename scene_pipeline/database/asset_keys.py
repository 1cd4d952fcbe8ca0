"""Storage keys of many things in the library at once, for addresses that are made in one go."""

from collections.abc import Collection

from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.identity import frame_asset_id, parse_frame_asset_id


async def stored_keys(conn: Connection, asset_ids: Collection[str]) -> dict[str, str]:
    """Where the bytes lie, by id; what is unknown, removed or still at its provider is left out."""
    image_ids = [one for one in map(parse_frame_asset_id, asset_ids) if one is not None]
    cursor = await conn.execute(
        "SELECT asset_id, storage_key FROM user_assets"
        " WHERE asset_id = ANY(%s) AND deleted_at IS NULL",
        (list(asset_ids),),
    )
    found = {row["asset_id"]: row["storage_key"] for row in await cursor.fetchall()}
    cursor = await conn.execute(
        "SELECT i.id, i.storage_path FROM scene_images i JOIN projects p ON p.id = i.project_id"
        " WHERE i.id = ANY(%s) AND i.storage_status = 'stored' AND NOT p.is_scratch",
        (image_ids,),
    )
    return found | {frame_asset_id(r["id"]): r["storage_path"] for r in await cursor.fetchall()}
