"""Uploads that our own server takes, while they are under way.

Belongs here: where their bytes wait, and that nothing of them stays behind. Does not belong here:
who may upload (`storage.served`), and HTTP (`scene_pipeline.api`).
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import StoredObject
from scene_pipeline.storage.files import UnfinishedFile
from scene_pipeline.storage.keys import content_type_of, taken_key
from scene_pipeline.storage.served import Incoming

_CHUNK_BYTES = 1024 * 1024


class LocalUpload(Incoming):
    """An upload as an unfinished file beside the objects.

    Args:
        key: What it is to be.
        file: Open for writing.
        keep: Names the file; None where the name is taken.
        explained: Turns the operating system's refusals into this package's errors.
    """

    def __init__(
        self,
        key: str,
        file: UnfinishedFile,
        keep: Callable[[str, UnfinishedFile], StoredObject | None],
        explained: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._key = key
        self._file = file
        self._keep = keep
        self._explained = explained

    def write(self, data: bytes) -> None:
        """See `Incoming.write`."""
        with self._explained(self._key):
            self._file.write(data)

    def keep(self) -> StoredObject:
        """See `Incoming.keep`."""
        with self._explained(self._key), self._file:
            kept = self._keep(self._key, self._file)
        if kept is None:
            raise taken_key(self._key)
        return kept

    def discard(self) -> None:
        """See `Incoming.discard`."""
        with suppress(OSError):
            self._file.discard()


class DatabaseUpload(Incoming):
    """An upload as a file without a name, which a crash takes along.

    Args:
        key: What it is to be.
        insert: Stores the pieces of an object; False where the key is taken.
    """

    def __init__(self, key: str, insert: Callable[[StoredObject, Iterable[bytes]], bool]) -> None:
        self._key = key
        self._insert = insert
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `discard`)
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """See `Incoming.write`."""
        with self._explained():
            self._file.write(data)
        self._digest.update(data)
        self._size_bytes += len(data)

    def keep(self) -> StoredObject:
        """See `Incoming.keep`."""
        facts = StoredObject(
            self._key, self._size_bytes, content_type_of(self._key), self._digest.hexdigest()
        )
        with self._explained():
            self._file.seek(0)
            is_ours = self._insert(facts, iter(lambda: self._file.read(_CHUNK_BYTES), b""))
        if not is_ours:
            raise taken_key(self._key)
        return facts

    def discard(self) -> None:
        """See `Incoming.discard`."""
        with suppress(OSError):
            self._file.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"The upload {self._key} cannot wait on this disk: {error.strerror}."
            action = "Free some space in the folder for temporary files."
            raise StorageError(message, code="storage_full", next_action=action) from error
