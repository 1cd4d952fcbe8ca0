"""Name and tags of an asset changed together, as an editor's form sends them.

Belongs here: that it is one change. Does not belong here: what a name and a tag may be
(`pipeline.library.naming`, `pipeline.library.tagging`).
"""

from collections.abc import Iterable

from scene_pipeline.database import asset_changes
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.library.renaming import rename_asset
from scene_pipeline.pipeline.library.tagging import (
    give_tags,
    merged_tags,
    normalised_tags,
    raise_unknown,
    refuse_frame,
)


async def edit_asset(
    conn: Connection,
    asset_id: str,
    *,
    name: str | None = None,
    tags: Iterable[str] | None = None,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> AssetRow:
    """Change what is said of an asset: all of it, or nothing where a part is refused.

    Args:
        conn: Not inside a transaction; this is one.
        asset_id: `ast_...`.
        name: None leaves it.
        tags: All that it is to have; None leaves them.
        add: Tags that come to those.
        remove: Tags that go; one that is added too stays.

    Raises:
        UsageError: code "name_invalid", "tag_invalid" or "too_many_tags"; "asset_is_frame".
        NotFoundError: There is no such asset.
    """
    refuse_frame(asset_id, "Frames have no name and tags of their own")
    given = None if tags is None else normalised_tags(tags)
    added, removed = normalised_tags(add), set(normalised_tags(remove))
    async with conn.transaction():
        row = await asset_changes.lock_asset(conn, asset_id)
        if row is None:
            raise_unknown(asset_id)
        if name is not None:
            row = await rename_asset(conn, asset_id, name)
        kept = [tag for tag in (row.tags if given is None else given) if tag not in removed]
        return await give_tags(conn, row, merged_tags(kept, added))
