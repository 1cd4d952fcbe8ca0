"""`assets list` and `assets show`: what is in the library.

Belongs here: showing. Does not belong here: what is found (`pipeline.library.searching`).
"""

from datetime import datetime
from typing import TYPE_CHECKING

from scene_pipeline.cli.assets_words import size_of
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import Cell, show_fields, show_filled_columns
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.database.asset_uses import AssetUse
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.removing import require_asset, uses_in_words, uses_of
from scene_pipeline.pipeline.library.searching import LibraryPage, LibraryQuery, search
from scene_pipeline.pipeline.library.showing import asset_json, use_json
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

_FROM_WIDTH = {"made": 90, "size": 110, "project": 120, "tags": 130, "url": 150}
"""Columns of a terminal from which on these are shown; the others always are."""


def list_library(terminal: Terminal, query: LibraryQuery) -> int:
    """Show a page of the library; returns the exit code.

    Raises:
        UsageError: The question or the cursor cannot be used.
        NotFoundError: There is no such project.
    """

    async def read(conn: "Connection") -> LibraryPage:
        return await search(conn, query)

    with open_databases(load_settings(), terminal) as urls:
        page = in_database(urls.application, read)
    if terminal.is_json:
        items = [asset_json(asset) for asset in page.items]
        terminal.document({"assets": items, "next_cursor": page.next_cursor})
        return 0
    if not page.items:
        terminal.say("Nothing in the library meets that.")
        return 0
    show_filled_columns(terminal, [_cells(asset) for asset in page.items], from_width=_FROM_WIDTH)
    if page.next_cursor is not None:
        terminal.say(f"There is more; go on with --cursor {page.next_cursor}", style="dim")
    return 0


def show_asset(terminal: Terminal, asset_id: str) -> int:
    """Show one thing of the library; returns the exit code.

    Raises:
        NotFoundError: There is no such asset.
    """

    async def read(conn: "Connection") -> tuple[AssetRow, list[AssetUse]]:
        asset = await require_asset(conn, asset_id)
        return asset, await uses_of(conn, asset)

    with open_databases(load_settings(), terminal) as urls:
        asset, uses = in_database(urls.application, read)
    if terminal.is_json:
        terminal.document({**asset_json(asset), "uses": [use_json(use) for use in uses]})
        return 0
    terminal.say(plain(f"{asset.name}  ({asset.asset_id})"), style="bold")
    fields = {**_fields(asset), "used by": uses_in_words(uses)}
    show_fields(terminal, {name: value for name, value in fields.items() if value})
    return 0


def read_moment(option: str, text: str | None) -> datetime | None:
    """Read a day or a moment; one without a time zone is this machine's.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"{option} {text[:40]!r} is no date.",
            code="usage",
            next_action="Write it as 2026-01-31 or 2026-01-31T18:00.",
        ) from error


def _cells(asset: AssetRow) -> dict[str, Cell]:
    return {
        "id": asset.asset_id,
        "kind": asset.kind,
        "state": _mark(asset),
        "name": asset.name,
        "made": f"{asset.created_at.astimezone():%Y-%m-%d %H:%M}",
        "size": size_of(asset),
        "project": asset.project_key or "",
        "tags": ", ".join(asset.tags),
        "url": asset.url,
    }


def _mark(asset: AssetRow) -> Cell:
    frame = asset.frame
    if frame is None:
        return "animated" if asset.is_animated else ""
    if frame.is_current:
        return "current", "green"
    return ("rejected", "red") if frame.rejection else ""


def _fields(asset: AssetRow) -> dict[str, str]:
    frame = asset.frame
    fields = {
        "kind": asset.kind + (" (animated)" if asset.is_animated else ""),
        "type": asset.mime_type or "",
        "size": size_of(asset),
        "url": asset.url,
        "key": asset.storage_key or "",
        "sha256": asset.sha256 or "",
        "tags": ", ".join(asset.tags),
        "project": asset.project_key or "",
        "client": asset.client_id or "",
        "campaign": asset.campaign_id or "",
        "source": asset.source_url or asset.source,
        "model": asset.model or "",
        "seed": "" if asset.seed is None else str(asset.seed),
        "made": f"{asset.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
    }
    if asset.content_version > 1:
        fields["bytes"] = f"version {asset.content_version}: replaced since it was added"
    if frame is not None:
        current = ", the current one" if frame.is_current else ""
        fields["scene"] = f"{frame.scene_id}, version {frame.version}{current}"
        fields["prompt"] = frame.prompt or ""
        fields["rejected"] = frame.rejection or ""
    return fields
