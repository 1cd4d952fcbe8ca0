"""Other names for assets: nothing depends on a name, so that any may be given at any time."""

from scene_pipeline.database import asset_changes, assets
from scene_pipeline.database.asset_events import append_asset_event
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.library.naming import checked_name
from scene_pipeline.pipeline.library.tagging import raise_unknown, refuse_frame


async def rename_asset(conn: Connection, asset_id: str, name: str) -> AssetRow:
    """Give an asset another name; its id, its address and whoever names it stay as they are.

    Args:
        conn: Not inside a transaction; this is one.
        asset_id: `ast_...`.
        name: As somebody typed it.

    Returns:
        The asset as it is then.

    Raises:
        UsageError: code "name_invalid"; "asset_is_frame" for a frame.
        NotFoundError: There is no such asset.
    """
    refuse_frame(asset_id, "Frames are named after their scene and version")
    kept = checked_name(name)
    async with conn.transaction():
        row = await asset_changes.lock_asset(conn, asset_id)
        if row is None:
            raise_unknown(asset_id)
        if not await asset_changes.set_name(conn, asset_id, kept):
            return row
        renamed = await assets.get_asset(conn, asset_id) or row
        await append_asset_event(conn, "asset_renamed", renamed, data={"former_name": row.name})
    return renamed
