"""Other bytes for an asset: it keeps its id, its name and its place, and whoever names it is told.

A document that names the asset by its id follows by itself. One that holds the address of the old
bytes would end up with an address that dies, so that replacing is refused then.

Belongs here: exchanging the bytes. Does not belong here: what it means for scenes
(`pipeline.references`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import psycopg

from scene_pipeline.database import asset_changes, assets, objects
from scene_pipeline.database.asset_changes import AssetBytes, Place
from scene_pipeline.database.asset_events import append_asset_event, was_made_for
from scene_pipeline.database.asset_uses import lock_sole_keys, projects_naming
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.references import mark_projects_of_asset_changed
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import LedgerError, UsageError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.frame_keys import OBJECT_COLLECTED
from scene_pipeline.pipeline.library.checked_files import (
    ATTEMPTS,
    CheckedFile,
    Settled,
    check_file,
    derivative_notes,
    see_stored,
    stored_key,
)
from scene_pipeline.pipeline.library.tagging import (
    give_tags,
    merged_tags,
    normalised_tags,
    raise_unknown,
    refuse_frame,
)
from scene_pipeline.pipeline.services import Services

_NAMED = 5
"""Projects that are told by name."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What is done besides exchanging the bytes, and whom for."""

    tags: tuple[str, ...]
    import_id: UUID | None


async def replace_bytes(
    services: Services,
    asset_id: str,
    path: Path,
    tags: Iterable[str],
    asked_at: datetime,
    *,
    import_id: UUID | None = None,
) -> Settled:
    """Give an asset the bytes of another file of its kind.

    Args:
        services: Of this process.
        asset_id: `ast_...`.
        path: The file; it is only read.
        tags: Added to the asset's own.
        asked_at: When that was asked for, aware.
        import_id: The import that it is done for.

    Raises:
        NotFoundError: There is no such asset.
        UsageError: code "asset_exists": another asset has these bytes in the same place;
            "asset_named_by_address": documents hold the address of the old bytes.
        ImageError, FileRefusedError, StorageError: As `adding.add_file`.
        LedgerError: code "library_busy".
    """
    refuse_frame(asset_id, "A frame is replaced by a new version of its scene")
    order = _Order(normalised_tags(tags), import_id)
    async with services.pool.connection() as conn:
        row = await assets.get_asset(conn, asset_id)
    if row is None or row.kind == "frame":
        raise_unknown(asset_id)
    checked = await check_file(services, path, row.kind)
    for _ in range(ATTEMPTS):
        is_new = row.sha256 != checked.file.sha256
        key = await stored_key(services, checked, asked_at) if is_new else None
        stored = checked.stored_as(key, services.store.url(key)) if key else None
        failpoint("asset_before_record")
        try:
            async with services.pool.connection() as conn:
                row = await _exchange(conn, asset_id, checked, stored, order)
                is_new = is_new or await _is_done(conn, row, import_id)
        except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
            continue
        except LedgerError as error:
            if error.error_code != OBJECT_COLLECTED:
                raise
            continue
        failpoint("asset_after_record")
        if row.sha256 != checked.file.sha256:
            continue
        if key is None:
            await see_stored(services, checked, row.storage_key)
        notes = await derivative_notes(services, checked, key) if key else ()
        return Settled(row, checked, is_new=is_new, notes=notes)
    raise LedgerError(
        f"Others keep changing {asset_id}.",
        code="library_busy",
        next_action="Replace it again.",
        retryable=True,
    )


async def _exchange(
    conn: Connection,
    asset_id: str,
    checked: CheckedFile,
    stored: AssetBytes | None,
    order: _Order,
) -> AssetRow:
    """Exchange the bytes in the caller's transaction; with no others, only the tags are added."""
    row = await asset_changes.lock_asset(conn, asset_id)
    if row is None:
        raise_unknown(asset_id)
    row = await give_tags(conn, row, merged_tags(row.tags, order.tags))
    if stored is None or row.sha256 == checked.file.sha256:
        return row
    await _refuse_twin(conn, row, checked)
    await _refuse_addresses(conn, row)
    await objects.add_reference(conn, stored.storage_key)
    await asset_changes.replace_bytes(conn, asset_id, stored)
    if row.storage_key is not None:
        await objects.release_reference(conn, row.storage_key)
    await mark_projects_of_asset_changed(conn, asset_id)
    replaced = await assets.get_asset(conn, asset_id) or row
    told = {"sha256": replaced.sha256, "former_sha256": row.sha256}
    await append_asset_event(conn, "asset_replaced", replaced, import_id=order.import_id, data=told)
    return replaced


async def _is_done(conn: Connection, row: AssetRow, import_id: UUID | None) -> bool:
    """Whether an earlier run of the same import gave it the bytes that it has."""
    if import_id is None or row.sha256 is None:
        return False
    return await was_made_for(conn, import_id, row.asset_id, row.sha256)


async def _refuse_twin(conn: Connection, row: AssetRow, checked: CheckedFile) -> None:
    place = Place(checked.kind, row.project_id, row.client_id, row.campaign_id, row.user_id)
    twin = await asset_changes.find_in_place(conn, checked.file.sha256, place)
    if twin is not None:
        raise UsageError(
            f"{twin.asset_id} ({twin.name!r}) has these bytes already, in the same place.",
            code="asset_exists",
            next_action="Use that one, or remove it first.",
        )


async def _refuse_addresses(conn: Connection, row: AssetRow) -> None:
    sole_keys = await lock_sole_keys(conn, row)
    projects = await projects_naming(conn, sole_keys) if sole_keys else ()
    if projects:
        named = ", ".join(projects[:_NAMED]) + (" and others" if len(projects) > _NAMED else "")
        raise UsageError(
            f"Documents hold the address of the present bytes of {row.asset_id}: {named}.",
            code="asset_named_by_address",
            next_action=f"Name it as `asset:{row.asset_id}` there, or add the new file as another"
            " asset.",
        )
