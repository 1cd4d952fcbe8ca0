"""What a picture's file says of itself, and which version of which frame it is.

Mode of operation: a file is read within bounds, and so is an address: one of ours out of the store,
whether or not a server shows it just now, any other one by the guarded fetcher. What was read is
looked at in a sandboxed worker. The database is asked afterwards, where there is one: a picture can
be read without.

Belongs here: reading and asking. Does not belong here: the block's layout (`media.metadata`).
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from scene_pipeline.database.frame_files import FrameOfFile, frame_of_generation, frame_with_bytes
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import ConfigurationError, FileRefusedError, StorageError
from scene_pipeline.media.images import ReadPicture
from scene_pipeline.media.workers import ImageWorkers
from scene_pipeline.pipeline.library.checked_files import MIB, check_on_disk
from scene_pipeline.pipeline.references.foreign import open_eyes
from scene_pipeline.scenes.references import read_name
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore, UrlMode
from scene_pipeline.storage.registry import build_store

_MODES: tuple[UrlMode, ...] = ("public", "cdn", "gateway", "signed")


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture and the size of its file."""

    picture: ReadPicture
    size_bytes: int

    @property
    def generation_id(self) -> UUID | None:
        """The generation that the file names; None where it names none of a possible form."""
        with suppress(ValueError):
            return UUID(self.picture.facts.get("generation_id", ""))
        return None

    @property
    def image_index(self) -> int:
        """Which of its generation's pictures it says it is, from 0."""
        text = self.picture.facts.get("candidate", "")
        return int(text) - 1 if text.isascii() and text.isdigit() and len(text) < 3 else 0


def read_file(settings: Settings, path: Path) -> PictureFile:
    """Read a picture from a file of this machine.

    Raises:
        UsageError: It is no file.
        FileRefusedError: It is larger than pictures are.
        ImageError: It is not a picture that we accept.
    """
    check_on_disk(path, settings.asset_max_file_mb)
    most = settings.asset_max_image_mb * MIB
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise FileRefusedError(
            f"{path} cannot be read.",
            code="file_unreadable",
            next_action="See that you may read it.",
        ) from error
    if len(data) > most:
        raise FileRefusedError(
            f"{path} is larger than {settings.asset_max_image_mb} MiB.",
            code="too_large",
            next_action="Raise ASSET_MAX_IMAGE_MB if pictures of that size are wanted.",
        )
    with ImageWorkers(1) as workers:
        return PictureFile(workers.read_back(data), len(data))


async def read_address(
    settings: Settings, address: str, *, database_url: str | None
) -> PictureFile:
    """Read a picture from an address: out of our store where it is one of ours.

    Args:
        settings: Of this process.
        address: http or https.
        database_url: Of the database that is open, for a store in it; None where there is none.

    Raises:
        FetchError: It cannot be fetched, or must not be.
        StorageError: It is ours, and the store does not give it.
        ImageError: It is not a picture that we accept.
    """
    data = await asyncio.to_thread(_read_own, settings, address, database_url)
    async with open_eyes(settings) as eyes:
        if data is None:
            data = (await eyes.call(eyes.fetcher.fetch, address)).data
        return PictureFile(await eyes.call(eyes.workers.read_back, data), len(data))


async def find_frame(conn: Connection, file: PictureFile) -> FrameOfFile | None:
    """The version that a file is, by what it names or by its bytes; None where none is known."""
    sha256 = file.picture.sha256
    if file.generation_id is not None:
        named = await frame_of_generation(
            conn, file.generation_id, sha256=sha256, image_index=file.image_index
        )
        if named is not None:
            return named
    return await frame_with_bytes(conn, sha256)


def shown_facts(facts: Mapping[str, str]) -> dict[str, str | int | None]:
    """The facts that have a name at every door, None where the file does not tell."""
    seed = facts.get("seed", "")
    is_number = seed.isascii() and seed.isdigit() and len(seed) < 20
    return {
        "prompt": facts.get("prompt"),
        "model": facts.get("model"),
        "provider": facts.get("provider"),
        "seed": int(seed) if is_number else None,
        "generation_id": facts.get("generation_id"),
        # the first edition of the block had the project's id alone
        "project": facts.get("project"),
        "scene_id": facts.get("scene_id"),
    }


def _read_own(settings: Settings, address: str, database_url: str | None) -> bytes | None:
    """The bytes of an address that leads into our store; None for any other."""
    keys = read_name(address).keys
    if not keys:
        return None
    try:
        store = build_store(settings, database_url=database_url)
    except ConfigurationError:
        return None  # without its database there is no store to read from
    try:
        bare = address.partition("#")[0].partition("?")[0]
        key = next((key for key in keys if bare in _addresses(store, key)), None)
        return None if key is None else store.read(key)
    finally:
        store.close()


def _addresses(store: ObjectStore, key: str) -> set[str]:
    """Every address that the store has for a key, without its query."""
    found = set()
    for mode in _MODES:
        with suppress(StorageError):
            found.add(store.url(key, mode).partition("?")[0])
    return found
