"""Deletion: refused while anybody needs the asset, a tombstone first, the bytes much later.

The object loses its reference at once and is the collector's after the period of grace, as are its
derivatives then.

Belongs here: assets of the user's. Does not belong here: generated frames, which retention gives up
(`pipeline.upkeep.retain`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scene_pipeline.database import asset_changes, asset_uses, assets, objects
from scene_pipeline.database.asset_events import append_asset_event
from scene_pipeline.database.asset_uses import AssetUse
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.references import mark_projects_of_asset_changed
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.tagging import raise_unknown, refuse_frame

_NAMED = 5
"""Uses and scenes that are told one by one."""
_WORDS = {
    "document": "the document",
    "generation": "an unfinished generation",
    "request": "a request that waits",
}


@dataclass(frozen=True, slots=True)
class RemovedAsset:
    """An asset that is a tombstone now."""

    asset_id: str
    name: str
    size_bytes: int
    uses: tuple[AssetUse, ...]
    """Who needed it all the same."""


async def remove_asset(conn: Connection, asset_id: str, *, force: bool = False) -> RemovedAsset:
    """Delete an asset: nothing shows it any more.

    Args:
        conn: Not inside a transaction; this is one.
        asset_id: `ast_...`.
        force: Also where somebody needs it; scenes that name it are blocked then and say why.

    Raises:
        NotFoundError: There is no such asset.
        UsageError: code "asset_in_use", with who needs it; "asset_is_frame".
    """
    refuse_frame(asset_id, "Retention gives up old frames, and nothing else does")
    async with conn.transaction():
        row = await asset_changes.lock_asset(conn, asset_id)
        if row is None or row.storage_key is None:
            raise_unknown(asset_id)
        sole_keys = await asset_uses.lock_sole_keys(conn, row)
        uses = await asset_uses.asset_uses(conn, row, sole_keys)
        if uses and not force:
            raise UsageError(
                f"{asset_id} ({row.name!r}) is needed by {uses_in_words(uses)}.",
                code="asset_in_use",
                next_action="Take it out there first, or remove it all the same with --force: the"
                " scenes that name it are then blocked.",
            )
        await asset_changes.bury_asset(conn, asset_id)
        await objects.release_reference(conn, row.storage_key)
        await mark_projects_of_asset_changed(conn, asset_id)
        told = {"was_forced": bool(uses), "size_bytes": row.size_bytes}
        await append_asset_event(conn, "asset_removed", row, data=told)
    return RemovedAsset(asset_id, row.name, row.size_bytes or 0, tuple(uses))


async def require_asset(conn: Connection, asset_id: str) -> AssetRow:
    """Something in the library by its id, a generated frame or an asset of the user's.

    Raises:
        NotFoundError: code "asset_unknown".
    """
    row = await assets.get_asset(conn, asset_id)
    if row is None:
        raise_unknown(asset_id)
    return row


async def uses_of(conn: Connection, asset: AssetRow) -> list[AssetUse]:
    """Who needs an asset just now, read without a lock; nobody of a frame, never removed so."""
    if asset.kind == "frame":
        return []
    return await asset_uses.asset_uses(conn, asset, await asset_uses.sole_keys(conn, asset))


def uses_in_words(uses: Sequence[AssetUse]) -> str:
    """Who needs an asset, in a few words."""
    said = [_use_in_words(use) for use in uses[:_NAMED]]
    hidden = len(uses) - len(said)
    return ", ".join(said) + (f" and {hidden} more" if hidden > 0 else "")


def _use_in_words(use: AssetUse) -> str:
    words = f"{_WORDS[use.what]} of {use.project_key}"
    if not use.scene_ids:
        return words
    shown = ", ".join(use.scene_ids[:_NAMED])
    hidden = len(use.scene_ids) - _NAMED
    return f"{words} ({shown}{f' and {hidden} more' if hidden > 0 else ''})"
