"""One object on its way from store to store: through a file on this machine, compared at each end.

Belongs here: bringing and comparing single objects. Does not belong here: which ones, and in which
order (`pipeline.upkeep.storage_copy`).
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal, TypeVar

from scene_pipeline.database import storage_copies
from scene_pipeline.database.storage_copies import LibraryObject
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyFailure, CopySide, CopyTarget
from scene_pipeline.storage.base import StoredObject
from scene_pipeline.storage.keys import content_type_of

T = TypeVar("T")
ATTEMPTS = 4
LEFTOVER_AGE_SECONDS = 24 * 3600.0
"""A file on its way is sent within minutes; one older than a day belongs to a copy that died."""

COPY_DAMAGED = "copy_damaged"

Brought = Literal["sent", "found", "collected"]
"""collected: the library gave it up meanwhile, so that nothing is to be copied."""


class CopyFailedError(Exception):
    """An object could not be brought or compared; carries what is told."""

    def __init__(self, failure: CopyFailure, *, is_retryable: bool) -> None:
        super().__init__(failure.key)
        self.failure = failure
        self.is_retryable = is_retryable


@dataclass(frozen=True, slots=True)
class ObjectCopier:
    """Brings objects to one store.

    Attributes:
        services: Of this process; its store is the source.
        target: The other store.
        verify: Read back what was sent.
    """

    services: Services
    target: CopyTarget
    verify: bool

    async def bring(self, wanted: LibraryObject) -> Brought:
        """See that an object is in the other store, whole, and note it.

        What is there already is not sent again, but read back and compared before it counts.

        Raises:
            CopyFailedError: It is not there, for the reason that it carries.
        """
        found = await self._on("target", wanted, self._head)
        if found is not None:
            result = await self._compare_found(wanted, found)
        elif self.target.is_configured:
            raise _failed(wanted.key, "source", _missing(wanted.key))
        else:
            result = await self._send(wanted)
        failpoint("copy_after_upload")
        if result == "collected":
            return result
        async with self.services.pool.connection() as conn:
            is_noted = await storage_copies.note_copied(conn, self.target.identity, wanted.key)
        failpoint("copy_after_row")
        return result if is_noted else "collected"

    async def check(self, wanted: LibraryObject) -> bool:
        """Read an object back from the other store; False where it is not there any more.

        Raises:
            CopyFailedError: Its bytes are others, or it cannot be read.
        """
        if await self._on("target", wanted, self._head) is None:
            return False
        await self._on("target", wanted, self._read_back)
        return True

    async def _compare_found(self, wanted: LibraryObject, found: StoredObject) -> Brought:
        if found.size_bytes != wanted.size_bytes or found.sha256 not in (None, wanted.sha256):
            side: CopySide = "source" if self.target.is_configured else "target"
            raise _failed(wanted.key, side, self._other_bytes(wanted.key))
        if self.verify or not self.target.is_configured:
            await self._on("target", wanted, self._read_back)
        return "found"

    async def _send(self, wanted: LibraryObject) -> Brought:
        with self._file(wanted.key) as path:
            try:
                await self._on("source", wanted, lambda one: self._download(one, path))
            except CopyFailedError:
                async with self.services.pool.connection() as conn:
                    if await storage_copies.is_in_library(conn, wanted.key):
                        raise
                return "collected"
            failpoint("copy_after_download")
            await self._on("target", wanted, lambda one: self._upload(one, path))
        if self.verify:
            await self._on("target", wanted, self._read_back)
        return "sent"

    async def _on(
        self, side: CopySide, wanted: LibraryObject, work: Callable[[LibraryObject], T]
    ) -> T:
        """Do a blocking step in a thread, again while its store says that this may help."""
        try:
            return await with_retries(
                lambda: self.services.call(work, wanted),
                attempts=ATTEMPTS,
                sleep=self.services.sleep,
            )
        except StorageError as error:
            raise _failed(wanted.key, side, error) from error
        except OSError as error:
            raise _failed(wanted.key, "here", _no_room(error)) from error

    def _head(self, wanted: LibraryObject) -> StoredObject | None:
        return self.target.store.head(wanted.key)

    def _download(self, wanted: LibraryObject, path: Path) -> None:
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for chunk in self.services.store.open(wanted.key):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != wanted.sha256:
            raise _corrupted(wanted.key)

    def _upload(self, wanted: LibraryObject, path: Path) -> None:
        self.target.store.put_file(
            wanted.key, path, content_type=content_type_of(wanted.key), sha256=wanted.sha256
        )

    def _read_back(self, wanted: LibraryObject) -> None:
        digest = hashlib.sha256()
        try:
            for chunk in self.target.store.open(wanted.key):
                digest.update(chunk)
        except StorageError as error:
            if error.error_code != "storage_corrupted":
                raise
            raise self._other_bytes(wanted.key) from error
        if digest.hexdigest() != wanted.sha256:
            raise self._other_bytes(wanted.key)

    def _other_bytes(self, key: str) -> StorageError:
        if self.target.is_configured:
            return _corrupted(key)
        return StorageError(
            f"{key} has other bytes in the other store than were recorded.",
            code=COPY_DAMAGED,
            next_action="Remove that object from the other store, then run the command again.",
        )

    @contextmanager
    def _file(self, key: str) -> Iterator[Path]:
        try:
            file = NamedTemporaryFile(dir=work_folder(self.services), delete=False)  # noqa: SIM115
        except OSError as error:
            raise _failed(key, "here", _no_room(error)) from error
        path = Path(file.name)
        file.close()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def work_folder(services: Services) -> Path:
    """Where objects lie on their way."""
    return services.settings.home_directory / "copying"


def prepare_work_folder(services: Services) -> None:
    """Make the folder, and remove what copies that died have left in it."""
    folder = work_folder(services)
    folder.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - LEFTOVER_AGE_SECONDS
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _failed(key: str, side: CopySide, error: StorageError) -> CopyFailedError:
    return CopyFailedError(CopyFailure(key, side, failure_of(error)), is_retryable=error.retryable)


def _missing(key: str) -> StorageError:
    return StorageError(
        f"{key} is not in the store.",
        code="object_missing",
        next_action="Try to get it again with `scene-pipeline reconcile --apply`.",
    )


def _corrupted(key: str) -> StorageError:
    return StorageError(
        f"{key} has other bytes in the store in use than were recorded.",
        code="source_corrupted",
        next_action="See with `scene-pipeline reconcile` what can be done about it.",
    )


def _no_room(error: OSError) -> StorageError:
    reason = error.strerror or type(error).__name__
    return StorageError(
        f"An object could not be kept on this machine on its way: {reason}.",
        code="copy_disk_failed",
        next_action="Make room for the largest objects under SCENE_PIPELINE_HOME.",
    )
