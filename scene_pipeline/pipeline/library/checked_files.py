"""Files that the library takes: checked, and their bytes stored once.

Belongs here: what a new asset and other bytes for an old one share. Does not belong here: rows of
the library (`pipeline.library.adding`, `pipeline.library.replacing`).
"""

import hashlib
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scene_pipeline.database import objects
from scene_pipeline.database.asset_changes import AssetBytes
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.rows import MAX_BIGINT
from scene_pipeline.errors import FileRefusedError, NotFoundError, UsageError
from scene_pipeline.media.images import InspectedFile
from scene_pipeline.pipeline.library.deriving import derive_all
from scene_pipeline.pipeline.library.naming import plain_words
from scene_pipeline.pipeline.library.storing import Payload, store_payload, write_payload
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import KEY_DIGITS, MEDIA_OF_KIND, AssetKind, asset_storage_key

ATTEMPTS = 5
"""How often a row is begun anew where others delete or collect the same bytes meanwhile."""
MIB = 2**20
"""What the settings of sizes count in, in bytes."""
_MAX_MODEL_LENGTH = 200


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that the library takes."""

    path: Path
    kind: AssetKind
    file: InspectedFile

    @property
    def payload(self) -> Payload:
        """What is stored of it: the cleaned picture, or the file as it is."""
        file = self.file
        source = self.path if file.data is None else file.data
        return Payload(source, file.mime_type, file.size_bytes, file.sha256)

    def stored_as(self, key: str, url: str) -> AssetBytes:
        """The facts of its bytes, once they are stored."""
        file = self.file
        seed = file.seed if file.seed is not None and 0 <= file.seed <= MAX_BIGINT else None
        return AssetBytes(
            url=url,
            storage_key=key,
            mime_type=file.mime_type,
            width=file.width,
            height=file.height,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            is_animated=file.is_animated,
            model=plain_words(file.model or "")[:_MAX_MODEL_LENGTH] or None,
            seed=seed,
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """An asset that has the bytes of a checked file."""

    row: AssetRow
    checked: CheckedFile
    is_new: bool
    """False where it had these bytes already, and not from an earlier run of the same import."""
    notes: tuple[str, ...] = ()


async def check_file(services: Services, path: Path, kind: AssetKind) -> CheckedFile:
    """Recognise a file by its content and check it as far as its kind allows.

    Raises:
        UsageError: It is no file.
        ImageError: It is not a picture that we accept.
        FileRefusedError: It is nothing that the library takes, or not of this kind.
    """
    settings = services.settings
    await services.call(check_on_disk, path, settings.asset_max_file_mb)
    file = await services.call(
        services.workers.inspect_file,
        path,
        media=MEDIA_OF_KIND[kind],
        allow_svg=settings.asset_allow_svg,
        max_image_bytes=settings.asset_max_image_mb * MIB,
        embed=settings.embed_metadata,
    )
    return CheckedFile(path, kind, file)


async def stored_key(services: Services, checked: CheckedFile, asked_at: datetime) -> str:
    """The key of an object with these bytes: one that the register has, or one that is stored now.

    Raises:
        StorageError: The store refused it.
    """
    digest, extension = checked.file.sha256, checked.file.extension
    async with services.pool.connection() as conn:
        present = await objects.find_present(conn, digest, checked.file.mime_type)
    if present is not None:
        await see_stored(services, checked, present)
        return present
    return await store_payload(
        services,
        checked.payload,
        lambda digits: asset_storage_key(checked.kind, asked_at, digest, extension, digits=digits),
        KEY_DIGITS,
    )


async def see_stored(services: Services, checked: CheckedFile, key: str | None) -> None:
    """Write the bytes of an object once more where the store has lost them.

    Whoever adds a file that the library says it has may do so because it cannot be seen any more.

    Raises:
        StorageError: The store cannot be asked, or refused it.
    """
    if key is not None and await services.call(services.store.head, key) is None:
        await write_payload(services, key, checked.payload)
        await derivative_notes(services, checked, key)


async def derivative_notes(services: Services, checked: CheckedFile, key: str) -> tuple[str, ...]:
    """Make the other forms of a picture that was added; what did not work is a note."""
    if checked.file.media != "image":
        return ()
    data = checked.file.data or await services.call(_unchanged_bytes, checked)
    if data is None:
        data = await services.call(services.store.read, key)
    return await derive_all(services, key, data)


def _unchanged_bytes(checked: CheckedFile) -> bytes | None:
    """The bytes of the file where they are still those that were checked."""
    try:
        with checked.path.open("rb") as file:
            data = file.read(checked.file.size_bytes + 1)
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == checked.file.sha256 else None


def check_on_disk(path: Path, max_megabytes: int) -> None:
    """Refuse what is no file, or is too large to be looked at.

    Raises:
        UsageError: It is not there, a folder, or no file.
        FileRefusedError: It is empty, or larger than this.
    """
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        raise NotFoundError(
            f"{path} cannot be read.",
            code="file_missing",
            next_action="See that it is there and that you may read it.",
        ) from error
    if stat.S_ISDIR(facts.st_mode):
        raise UsageError(
            f"{path} is a folder.",
            code="is_a_folder",
            next_action="Name the files in it, as in folder/*.png.",
        )
    if not stat.S_ISREG(facts.st_mode):
        raise UsageError(f"{path} is no file.", code="not_a_file", next_action="Name a file.")
    if facts.st_size == 0:
        raise FileRefusedError(f"{path} is empty.", code="file_empty")
    if facts.st_size > max_megabytes * MIB:
        raise FileRefusedError(
            f"{path} has {facts.st_size:,} bytes; at most {max_megabytes} MiB are taken.",
            code="too_large",
            next_action="Give a smaller one, or raise ASSET_MAX_FILE_MB.",
        )
