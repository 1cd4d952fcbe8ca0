"""Uploads straight into the store: permitted, confirmed, and then imported like anything else.

Mode of operation: a permission is a row and a signed form or address for exactly one object, of one
type and at most so many bytes. What arrives lies apart from everything that is shown, under a key
of its own. Confirming it makes it an import that is pending; the run that carries that out reads
the object once, checks it like any other file, stores it under its real key and removes it here.

Belongs here: beginning and confirming. Does not belong here: importing (`imports`), and what was
never confirmed (`sweeping`).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn
from uuid import UUID, uuid4

from scene_pipeline.database import uploads as rows
from scene_pipeline.database.imports import ImportRow, append_import_event, get_import
from scene_pipeline.database.uploads import NewUpload
from scene_pipeline.errors import NotFoundError, StorageError, UsageError
from scene_pipeline.media.file_types import extension_of, mime_types
from scene_pipeline.pipeline.library.checked_files import MIB
from scene_pipeline.pipeline.library.naming import asset_name, checked_metadata, checked_place
from scene_pipeline.pipeline.library.tagging import normalised_tags
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import (
    MEDIA_OF_KIND,
    UPLOADS_PREFIX,
    AssetKind,
    upload_storage_key,
)
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import PresignedUpload

UPLOAD_EXPIRED: Final = "upload_expired"


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """A file that somebody is about to send, as far as they say."""

    kind: AssetKind
    content_type: str
    name: str | None = None
    size_bytes: int | None = None
    """None: anything up to the limit of its kind."""
    tags: tuple[str, ...] = ()
    project_id: UUID | None = None
    client_id: str | None = None
    campaign_id: str | None = None
    user_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


async def begin_upload(services: Services, request: UploadRequest) -> tuple[UUID, PresignedUpload]:
    """Permit one upload, and write that down before the permission is handed out.

    Args:
        services: The store makes the permission, without a network call.
        request: What is to be sent.

    Returns:
        The import's id, to be confirmed with, and the permission.

    Raises:
        UsageError: The type does not belong to the kind, or the file would be too large.
        StorageError: code "upload_unsupported": the store takes none from outside.
    """
    import_id = uuid4()
    settings = services.settings
    extension = _extension(request, settings)
    max_bytes = _max_bytes(request, settings)
    name = asset_name(request.name, Path()) if request.name else None
    new = NewUpload(
        id=import_id,
        kind=request.kind,
        upload_key=upload_storage_key(import_id, extension),
        upload_content_type=request.content_type,
        upload_max_bytes=max_bytes,
        name=name,
        tags=normalised_tags(request.tags),
        project_id=request.project_id,
        client_id=checked_place("client", request.client_id),
        campaign_id=checked_place("campaign", request.campaign_id),
        user_id=checked_place("user", request.user_id),
        metadata=checked_metadata(request.metadata),
    )
    permission = await services.call(
        services.store.presign_upload,
        new.upload_key,
        content_type=new.upload_content_type,
        max_bytes=max_bytes,
    )
    async with services.pool.connection() as conn:
        await rows.insert_upload(conn, new)
    return import_id, permission


async def complete_upload(services: Services, import_id: UUID) -> ImportRow:
    """Confirm that an upload has arrived, so that it is imported; doing it again is harmless.

    Args:
        services: Store and database.
        import_id: As `begin_upload` gave it.

    Returns:
        The import as it stands now: "pending" at first, later whatever became of it.

    Raises:
        NotFoundError: There is no such upload.
        UsageError: code "upload_missing": nothing has arrived; "upload_expired"; "too_large".
        StorageError: The store cannot be asked; code "upload_key_foreign": the row names something
            else.
    """
    row = await _upload(services, import_id)
    if row.state == "expired":
        raise UsageError(
            row.error_message or "The upload was given up.",
            code=row.error_code or UPLOAD_EXPIRED,
            next_action=row.error_next_action,
        )
    if row.state != "awaiting_upload" or row.upload_key is None:
        return row
    arrived = await services.call(services.store.head, require_upload_key(row.upload_key))
    if arrived is None:
        raise UsageError(
            "Nothing has arrived for this upload.",
            code="upload_missing",
            next_action="Send the file as the permission says, then confirm it.",
        )
    if arrived.size_bytes > (row.upload_max_bytes or 0):
        await _refuse(services, row)
    async with services.pool.connection() as conn:
        await rows.confirm_upload(conn, import_id, arrived.size_bytes)
    return await _upload(services, import_id)


async def remove_upload(services: Services, key: str | None) -> bool:
    """Remove the bytes of an upload that was let go of; what does not work the sweep does later.

    Args:
        services: Store and database.
        key: Where it arrived; None where it was no upload.

    Returns:
        False where they may still be there: the store failed, or the key is no upload's, whose
        bytes are never removed here.
    """
    if key is None:
        return True
    with suppress(StorageError):
        require_upload_key(key)
        await services.call(services.store.delete, key)
        async with services.pool.connection() as conn:
            await rows.mark_uploads_removed(conn, [key])
        return True
    return False


def require_upload_key(key: str) -> str:
    """The key, where uploads arrive under such.

    Rows are written by other programs too, and what lies elsewhere is shown or kept by somebody.

    Raises:
        StorageError: code "upload_key_foreign".
    """
    if key.startswith(f"{UPLOADS_PREFIX}/"):
        return key
    raise StorageError(
        f"{key[:80]!r} is no key of an upload; nothing there is read or removed.",
        code="upload_key_foreign",
        next_action="Ask for a new upload and send the file again.",
    )


async def _upload(services: Services, import_id: UUID) -> ImportRow:
    async with services.pool.connection() as conn:
        row = await get_import(conn, import_id)
    if row is None or row.source != "upload":
        raise NotFoundError(
            f"There is no upload {import_id}.",
            code="upload_unknown",
            next_action="Use the id that the permission came with.",
        )
    return row


async def give_up(
    services: Services, import_id: UUID, *, code: str, message: str, next_action: str
) -> bool:
    """Give up an upload that still waits, and remove what arrived; False where it no longer does.

    Args:
        services: Store and database.
        import_id: Of the upload.
        code: Why, for programs.
        message: Why, for people.
        next_action: What they can do about it.
    """
    async with services.pool.connection() as conn, conn.transaction():
        is_given_up = await rows.give_up_upload(
            conn, import_id, code=code, message=message, next_action=next_action
        )
        row = await get_import(conn, import_id)
        if not is_given_up or row is None:
            return False
        data = {"code": code, "message": message, "is_tried_again": False}
        await append_import_event(conn, row, "upload_failed", data)
    await remove_upload(services, row.upload_key)
    return True


async def _refuse(services: Services, row: ImportRow) -> NoReturn:
    code, next_action = "too_large", "Ask for an upload of the file's true size."
    message = (
        f"What arrived has more than the {row.upload_max_bytes} bytes that were permitted; it is"
        " removed."
    )
    await give_up(services, row.id, code=code, message=message, next_action=next_action)
    raise UsageError(message, code=code, next_action=next_action)


def _extension(request: UploadRequest, settings: Settings) -> str:
    accepted = mime_types(MEDIA_OF_KIND[request.kind], allow_svg=settings.asset_allow_svg)
    extension = extension_of(request.content_type)
    if extension is None or request.content_type not in accepted:
        raise UsageError(
            f"{request.content_type[:80]!r} is no type of {request.kind.replace('_', ' ')}s that"
            " is taken.",
            code="kind_mismatch",
            next_action=f"Send one of: {', '.join(accepted)}.",
        )
    return extension


def _max_bytes(request: UploadRequest, settings: Settings) -> int:
    is_image = MEDIA_OF_KIND[request.kind] == "image"
    megabytes = settings.asset_max_image_mb if is_image else settings.asset_max_file_mb
    variable = "ASSET_MAX_IMAGE_MB" if is_image else "ASSET_MAX_FILE_MB"
    wanted = megabytes * MIB if request.size_bytes is None else request.size_bytes
    if not 1 <= wanted <= megabytes * MIB:
        raise UsageError(
            f"A file of {wanted} bytes is not taken, only 1 byte to {megabytes} MiB.",
            code="too_large" if wanted > 0 else "file_empty",
            next_action=f"Send a smaller one, or raise {variable}.",
        )
    return wanted
