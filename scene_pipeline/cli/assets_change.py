"""`assets rename`, `assets tag`, `assets rm` and `assets url`: one asset at a time.

Belongs here: telling what became of it. Does not belong here: what is allowed
(`pipeline.library`).
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.addressing import asset_url
from scene_pipeline.pipeline.library.deriving import FORMS
from scene_pipeline.pipeline.library.editing import edit_asset
from scene_pipeline.pipeline.library.removing import (
    RemovedAsset,
    remove_asset,
    require_asset,
    uses_in_words,
)
from scene_pipeline.pipeline.library.renaming import rename_asset
from scene_pipeline.pipeline.library.showing import asset_json, use_json
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import MAX_SIGNED_URL_SECONDS, SIGNED_URL_SECONDS

if TYPE_CHECKING:
    from scene_pipeline.database.derivatives import DerivativeForm
    from scene_pipeline.database.rows import Connection


def tag_asset(
    terminal: Terminal, asset_id: str, *, add: Sequence[str], remove: Sequence[str]
) -> int:
    """Change an asset's tags; returns the exit code.

    Raises:
        UsageError: Nothing was to be changed, or a tag cannot be used.
        NotFoundError: There is no such asset.
    """
    if not add and not remove:
        raise UsageError(
            "No tag was given.", code="usage", next_action="Give --add TAG or --remove TAG."
        )

    async def carry_out(conn: "Connection") -> AssetRow:
        return await edit_asset(conn, asset_id, add=add, remove=remove)

    with open_databases(load_settings(), terminal) as urls:
        asset = in_database(urls.application, carry_out)
    if terminal.is_json:
        terminal.document(asset_json(asset))
        return 0
    tags = ", ".join(asset.tags) or "no tags"
    terminal.say(plain(f"{asset.name} ({asset.asset_id}): {tags}."))
    return 0


def rename(terminal: Terminal, asset_id: str, name: str) -> int:
    """Give an asset another name; returns the exit code.

    Raises:
        UsageError: The name cannot be used, or it is a frame.
        NotFoundError: There is no such asset.
    """

    async def carry_out(conn: "Connection") -> AssetRow:
        return await rename_asset(conn, asset_id, name)

    with open_databases(load_settings(), terminal) as urls:
        asset = in_database(urls.application, carry_out)
    if terminal.is_json:
        terminal.document(asset_json(asset))
    else:
        terminal.say(plain(f"{asset.asset_id} is called {asset.name} now."))
    return 0


def remove(terminal: Terminal, asset_id: str, *, force: bool) -> int:
    """Remove an asset; returns the exit code.

    Raises:
        UsageError: Somebody needs it, or it is a frame; nothing was changed.
        NotFoundError: There is no such asset.
    """
    settings = load_settings()

    async def carry_out(conn: "Connection") -> RemovedAsset:
        return await remove_asset(conn, asset_id, force=force)

    with open_databases(settings, terminal) as urls:
        removed = in_database(urls.application, carry_out)
    if terminal.is_json:
        terminal.document(
            {
                "asset_id": removed.asset_id,
                "name": removed.name,
                "size_bytes": removed.size_bytes,
                "uses": [use_json(use) for use in removed.uses],
                "grace_hours": settings.collect_grace_hours,
            }
        )
        return 0
    terminal.say(plain(f"Removed {removed.name} ({removed.asset_id})."), style="bold")
    if removed.uses:
        terminal.say(plain(f"It was needed by {uses_in_words(removed.uses)}."), style="yellow")
    terminal.say(
        f"Its bytes are removed by a collection {settings.collect_grace_hours:g} h later, unless"
        " something else is kept with them."
    )
    return 0


def print_url(
    terminal: Terminal, asset_id: str, *, signed_seconds: int | None, form: str | None
) -> int:
    """Print an address of an asset or frame; returns the exit code.

    Raises:
        UsageError: There is no such form or mode.
        NotFoundError: There is no such asset.
        StorageError: It cannot be read, or the store has no such address.
    """
    if signed_seconds is not None and not 1 <= signed_seconds <= MAX_SIGNED_URL_SECONDS:
        raise UsageError(
            f"--signed {signed_seconds} is not possible.",
            code="usage",
            next_action=f"Give 1 to {MAX_SIGNED_URL_SECONDS} seconds.",
        )
    wanted = _read_form(form)
    settings = load_settings()
    with open_databases(settings, terminal) as urls:
        url = asyncio.run(
            _url(settings, urls.application, asset_id, signed_seconds=signed_seconds, form=wanted)
        )
    if terminal.is_json:
        terminal.document(
            {"asset_id": asset_id, "url": url, "form": form, "expires_in_seconds": signed_seconds}
        )
    else:
        terminal.say(plain(url))
    return 0


async def _url(
    settings: Settings,
    database_url: str,
    asset_id: str,
    *,
    signed_seconds: int | None,
    form: "DerivativeForm | None",
) -> str:
    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy

    async with open_services(settings, database_url) as services:
        async with services.pool.connection() as conn:
            asset = await require_asset(conn, asset_id)
        return await asset_url(
            services,
            asset,
            mode=None if signed_seconds is None else "signed",
            form=form,
            expires_seconds=signed_seconds or SIGNED_URL_SECONDS,
        )


def _read_form(text: str | None) -> "DerivativeForm | None":
    if text is None:
        return None
    for form in FORMS:
        if form == text:
            return form
    raise UsageError(
        f"--form {text[:40]!r} is none.", code="usage", next_action=f"Give {' or '.join(FORMS)}."
    )
