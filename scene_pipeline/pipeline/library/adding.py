"""A file into the library: recognised, checked, stored once, and found again if it was there.

Mode of operation: the bytes are looked at in a sandboxed worker; what is stored is announced first,
so that a crash leaves nothing but what the collector finds. The same bytes in the same place of the
library are the same asset, however often and by however many they are added at once; the same bytes
in another place, a generated frame's included, share the stored object.

Belongs here: files that lie on this machine. Does not belong here: how they got here
(`pipeline.library.imports`), other bytes for an asset (`pipeline.library.replacing`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from scene_pipeline.database import asset_changes, assets, objects
from scene_pipeline.database.asset_changes import Place
from scene_pipeline.database.asset_events import append_asset_event, was_made_for
from scene_pipeline.database.assets import AssetRow, AssetSource
from scene_pipeline.errors import LedgerError
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
from scene_pipeline.pipeline.library.naming import (
    asset_name,
    checked_metadata,
    checked_place,
    plain_words,
)
from scene_pipeline.pipeline.library.replacing import replace_bytes
from scene_pipeline.pipeline.library.tagging import give_tags, merged_tags, normalised_tags
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import AssetKind, new_asset_id


@dataclass(frozen=True, slots=True)
class AssetDetails:
    """What is said of a file besides its bytes."""

    kind: AssetKind
    name: str
    """As given; "" for the name of the file."""
    source: AssetSource
    tags: tuple[str, ...] = ()
    project_id: UUID | None = None
    client_id: str | None = None
    campaign_id: str | None = None
    user_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source_url: str | None = None
    """Where it came from, without anything secret in it."""
    import_id: UUID | None = None
    """The import that it is brought in for."""

    @property
    def place(self) -> Place:
        """Where in the library it goes."""
        return Place(self.kind, self.project_id, self.client_id, self.campaign_id, self.user_id)


@dataclass(frozen=True, slots=True)
class AddedAsset:
    """An asset that has the bytes of a file."""

    asset_id: str
    url: str
    """Permanent."""
    kind: AssetKind
    is_new: bool
    """False where the library had these bytes in this place already; what a run of the same import
    had brought in before it died is new."""
    mime_type: str
    width: int | None
    height: int | None
    size_bytes: int
    sha256: str
    notes: tuple[str, ...]
    """What was found in the file and done to it, and what could not be derived of it."""


async def add_file(
    services: Services,
    path: Path,
    details: AssetDetails,
    *,
    asked_at: datetime,
    replace: str | None = None,
) -> AddedAsset:
    """Bring a file into the library.

    Args:
        services: Of this process.
        path: The file; it is only read.
        details: What is said of it.
        asked_at: When that was asked for, aware: doing it again makes the same storage key.
        replace: Id of an asset that is to have these bytes from now on, under its own name and in
            its own place; of the details, the tags are added to it. See
            `pipeline.library.replacing`.

    Raises:
        UsageError: The details cannot be used, or there is no such file or asset.
        ImageError: It is not a picture that we accept.
        FileRefusedError: It is nothing that the library takes, or not what it was said to be.
        StorageError: The store refused it.
        LedgerError: code "library_busy": others keep removing the same bytes; may be tried again.
    """
    if replace is not None:
        return _told(
            await replace_bytes(
                services, replace, path, details.tags, asked_at, import_id=details.import_id
            )
        )
    cleaned = dataclasses.replace(
        details,
        name=asset_name(details.name, path),
        tags=normalised_tags(details.tags),
        metadata=checked_metadata(details.metadata),
        client_id=checked_place("client", details.client_id),
        campaign_id=checked_place("campaign", details.campaign_id),
        user_id=checked_place("user", details.user_id),
    )
    checked = await check_file(services, path, details.kind)
    for _ in range(ATTEMPTS):
        found = await _find(services, checked, cleaned)
        if found is not None:
            await see_stored(services, checked, found.row.storage_key)
            return _told(found)
        key = await stored_key(services, checked, asked_at)
        failpoint("asset_before_record")
        recorded = await _record(services, checked, key, cleaned)
        failpoint("asset_after_record")
        if recorded is not None:
            notes = await derivative_notes(services, checked, key)
            return _told(Settled(recorded, checked, is_new=True, notes=notes))
    raise LedgerError(
        f"Others keep adding and removing the bytes of {cleaned.name!r}.",
        code="library_busy",
        next_action="Add it again.",
        retryable=True,
    )


def _told(settled: Settled) -> AddedAsset:
    row, checked, file = settled.row, settled.checked, settled.checked.file
    return AddedAsset(
        asset_id=row.asset_id,
        url=row.url,
        kind=checked.kind,
        is_new=settled.is_new,
        mime_type=file.mime_type,
        width=file.width,
        height=file.height,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        notes=(*file.notes, *settled.notes),
    )


async def _find(services: Services, checked: CheckedFile, details: AssetDetails) -> Settled | None:
    """The asset that has these bytes in this place already, with the tags added to its own."""
    async with services.pool.connection() as conn:
        found = await asset_changes.find_in_place(conn, checked.file.sha256, details.place)
        if found is None:
            return None
        row = await asset_changes.lock_asset(conn, found.asset_id)
        # It may have been removed, or have got other bytes, a moment ago.
        if row is None or row.sha256 != checked.file.sha256:
            return None
        row = await give_tags(conn, row, merged_tags(row.tags, details.tags))
        is_ours = details.import_id is not None and await was_made_for(
            conn, details.import_id, row.asset_id, checked.file.sha256
        )
        return Settled(row, checked, is_new=is_ours)


async def _record(
    services: Services, checked: CheckedFile, key: str, details: AssetDetails
) -> AssetRow | None:
    """Write the row; None where the object was collected or the place has these bytes by now."""
    asset_id = new_asset_id()
    metadata = dict(details.metadata)
    if checked.file.generation_id:
        metadata.setdefault("generation_id", plain_words(checked.file.generation_id)[:100])
    try:
        async with services.pool.connection() as conn:
            is_written = await asset_changes.insert_asset(
                conn,
                asset_id,
                details.place,
                checked.stored_as(key, services.store.url(key)),
                name=details.name,
                tags=details.tags,
                source=details.source,
                source_url=details.source_url,
                metadata=metadata,
            )
            if not is_written:
                return None
            await objects.add_reference(conn, key)
            row = await assets.get_asset(conn, asset_id)
            if row is not None:
                told = {"sha256": row.sha256, "size_bytes": row.size_bytes}
                await append_asset_event(
                    conn, "asset_added", row, import_id=details.import_id, data=told
                )
            return row
    except LedgerError as error:
        if error.error_code != OBJECT_COLLECTED:
            raise
        return None
