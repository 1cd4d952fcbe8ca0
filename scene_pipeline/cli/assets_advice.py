"""What to do next with what `assets add` brought in.

Belongs here: telling which frames are stale for it, and how a document names it. Does not belong
here: what became of each file and address (`cli.assets`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scene_pipeline.cli.session import in_database
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.pipeline.library.adding import AddedAsset
from scene_pipeline.pipeline.library.import_events import ImportOutcome
from scene_pipeline.pipeline.library.removing import require_asset, uses_in_words, uses_of
from scene_pipeline.scenes.identity import MEDIA_OF_KIND

if TYPE_CHECKING:
    from scene_pipeline.database.asset_uses import AssetUse
    from scene_pipeline.database.rows import Connection

_PROJECTS_SHOWN = 3


def advise(
    terminal: Terminal,
    database_url: str,
    replaced: str | None,
    brought: Sequence[AddedAsset | ImportOutcome | None],
) -> None:
    """Say what to do next; nothing with `--json` and where nothing was brought in.

    Args:
        terminal: Where to.
        database_url: Of the application.
        replaced: The asset that was to get other bytes.
        brought: What became of each thing; None and those without an asset were not brought in.
    """
    assets = [one for one in brought if one is not None and one.asset_id is not None]
    if terminal.is_json or not assets:
        return
    if replaced is not None:
        _tell_replaced(terminal, in_database(database_url, lambda conn: _uses(conn, replaced)))
        return
    picture = next((one for one in assets if MEDIA_OF_KIND[one.kind] == "image"), None)
    if picture is not None and terminal.is_live:
        terminal.say(f'A document names it in "references" as "asset:{picture.asset_id}".', "dim")


def _tell_replaced(terminal: Terminal, uses: "list[AssetUse]") -> None:
    """Say who goes by an asset that has other bytes now, and how new frames are made."""
    if not uses:
        return
    terminal.say(plain(f"It is named by {uses_in_words(uses)}."))
    keys = dict.fromkeys(use.project_key for use in uses if use.what == "document")
    if keys:
        terminal.say("Frames that were made after its old bytes are stale; make new ones with:")
    for key in list(keys)[:_PROJECTS_SHOWN]:
        terminal.say(plain(f"  {command('run', key, '--stale')}"), style="cyan")


async def _uses(conn: "Connection", asset_id: str) -> "list[AssetUse]":
    return await uses_of(conn, await require_asset(conn, asset_id))
