"""Frames as plain files under one directory, served over HTTP by `scene_pipeline.api`.

Belongs here: making a file appear whole, once and for good. Does not belong here: HTTP.

Mode of operation: bytes go to `.incoming/` in the same directory tree, are flushed to the disk, and
get their name by `link()`, which fails where the name is taken. So a reader sees a whole file or
none, a crash leaves at most an unfinished file in `.incoming/` (removed after a day), and of many
writers exactly one wins. No sidecar is kept: the type follows from the key's extension and the
digest from the bytes, so nothing can disagree with the file.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import StoredObject
from scene_pipeline.storage.files import (
    UnfinishedFile,
    flush_folder,
    make_folders,
    name_once,
    pieces_of,
    walk_files,
)
from scene_pipeline.storage.keys import (
    MAX_FILE_BYTES,
    check_key,
    check_object,
    check_prefix,
    check_size,
    check_type,
    content_digest_in,
    content_type_of,
    corrupted_object,
    foreign_object,
    missing_object,
    other_digest,
    taken_key,
    unreadable_file,
)
from scene_pipeline.storage.local_errors import explained
from scene_pipeline.storage.served import Incoming, ServedFacts, ServedMode, ServedStore
from scene_pipeline.storage.signing import Signer
from scene_pipeline.storage.uploads import LocalUpload

INCOMING = ".incoming"
"""Folder of unfinished files; no key can name it."""
LEFTOVER_AGE_SECONDS = 24 * 3600.0
"""An upload takes at most an hour, so what is older than a day belongs to a process that died."""

_CHUNK_BYTES = 1024 * 1024
_SERVED_BYTES = 256 * 1024
"""What is in memory per reader of our server."""


class LocalStore(ServedStore):
    """Objects as files below a directory.

    Args:
        directory: Made when first written to. A symbolic link here is followed; one further down
            that leads out of it is not.
        public_base_url: Address at which `scene_pipeline.api` serves this directory.
        permanent: See `ServedStore`.
        signer: See `ServedStore`.
    """

    def __init__(
        self,
        directory: Path,
        public_base_url: str,
        *,
        permanent: ServedMode = "public",
        signer: Signer | None = None,
    ) -> None:
        super().__init__(public_base_url, permanent=permanent, signer=signer)
        self._root = directory.absolute()
        self._is_prepared = False

    @property
    def directory(self) -> Path:
        """Where the files are, absolute."""
        return self._root

    @property
    def description(self) -> str:
        """See `ObjectStore.description`."""
        return f"local files in {self._root}"

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put`."""
        check_object(key, data, content_type, sha256)
        with self._explained(key), self._unfinished() as file:
            file.write(data)
            return self._keep_or_find(key, file)

    def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put_file`."""
        check_type(check_key(key), content_type)
        try:
            check_size(key, path.stat().st_size, MAX_FILE_BYTES)
            pieces = pieces_of(path, _CHUNK_BYTES)
            first = next(pieces, b"")
        except OSError as error:
            raise unreadable_file(path, error) from error
        with self._explained(key), self._unfinished() as file:
            file.write(first)
            for piece in pieces:
                file.write(piece)
            if file.sha256 != sha256:
                raise other_digest(key)
            return self._keep_or_find(key, file)

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`."""
        with self._explained(key):
            return b"".join(self._chunks(key, check=check_size))

    def open(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore.open`; the digest is the one that the key carries, where it does."""
        digest = hashlib.sha256()
        with self._explained(key):
            for chunk in self._chunks(key):
                digest.update(chunk)
                yield chunk
        if not digest.hexdigest().startswith(content_digest_in(key) or ""):
            raise corrupted_object(key)

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore.head`.

        The digest is computed from the bytes as they are now (about 1 ms for a frame), so that it
        tells damage on the disk from an intact file.
        """
        digest, size_bytes = hashlib.sha256(), 0
        try:
            with self._explained(key):
                for chunk in self._chunks(key):
                    digest.update(chunk)
                    size_bytes += len(chunk)
        except StorageError as error:
            if error.error_code == "object_missing":
                return None
            raise
        return _stored(key, size_bytes, digest.hexdigest())

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with self._explained(key):
            target = self._path(key)
            with suppress(FileNotFoundError):
                target.unlink()
                flush_folder(target.parent)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore.list`; digests are not computed here, so `sha256` is None."""
        check_prefix(prefix)
        with self._explained(prefix):
            for found_key, size_bytes in walk_files(self._root, prefix):
                yield _stored(found_key, size_bytes, None)

    def close(self) -> None:
        """Nothing is held open between calls."""

    def locate(self, key: str) -> Path:
        """The file of an object that is there, for a server that sends it.

        Raises:
            StorageError: code "object_missing" or "key_invalid".
        """
        with self._explained(key):
            path = self._path(key)
            if not _is_plain_file(path):
                raise missing_object(key)
            return path

    def served(self, key: str) -> ServedFacts:
        """See `ServedStore.served`."""
        path = self.locate(key)
        with self._explained(key):
            facts = path.stat()
        return ServedFacts(facts.st_size, f"{facts.st_mtime_ns:x}-{facts.st_size:x}")

    def part(self, key: str, first: int, size_bytes: int) -> Iterator[bytes]:
        """See `ServedStore.part`; the file stays open while the reader takes its time."""
        with self._explained(key):
            yield from self._chunks(key, first=first, size_bytes=size_bytes, step=_SERVED_BYTES)

    def receive(self, key: str) -> Incoming:
        """See `ServedStore.receive`."""
        with self._explained(key):
            if os.path.lexists(self._path(key)):
                raise taken_key(key)
            return LocalUpload(key, self._unfinished(), self._keep, self._explained)

    def _unfinished(self) -> UnfinishedFile:
        self._prepare()
        return UnfinishedFile(self._root / INCOMING)

    def _keep_or_find(self, key: str, file: UnfinishedFile) -> StoredObject:
        """Name a file that is written; a repetition of the same bytes is a success."""
        kept = self._keep(key, file)
        if kept is not None:
            return kept
        found = self.head(key)
        if found is None or found.sha256 != file.sha256:
            raise foreign_object(key)
        return found

    def _keep(self, key: str, file: UnfinishedFile) -> StoredObject | None:
        """Name a file that is written, for good; None where the name is taken."""
        file.flush()
        target = self._path(key)
        made = make_folders(target.parent, self._root)
        # Asked again after the folders exist, since a link may stand where one was expected.
        target = self._path(key)
        is_ours = name_once(file.path, target, self._root / INCOMING / "lock")
        for folder in (target.parent, *made):
            flush_folder(folder)
        if is_ours:
            return _stored(key, file.size_bytes, file.sha256)
        if not _is_plain_file(target):
            raise FileExistsError(errno.EEXIST, "not a file")
        return None

    def _path(self, key: str) -> Path:
        path = self._root / check_key(key)
        root = self._root.resolve()
        if not path.parent.resolve().is_relative_to(root):
            raise StorageError(f"{key} leads out of {self._root}.", code="key_invalid")
        return path

    def _chunks(
        self,
        key: str,
        *,
        first: int = 0,
        size_bytes: int | None = None,
        step: int = _CHUNK_BYTES,
        check: Callable[[str, int], None] | None = None,
    ) -> Iterator[bytes]:
        # O_NONBLOCK: a named pipe in the tree must not hold a reader up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path(key), flags)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise missing_object(key)
            if check is not None:
                check(key, facts.st_size)
            end = facts.st_size if size_bytes is None else first + size_bytes
            while chunk := os.pread(descriptor, min(step, end - first), first):
                first += len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    def _prepare(self) -> None:
        """Make `.incoming/` and remove what processes that died left there; once per store."""
        if self._is_prepared:
            return
        incoming = self._root / INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - LEFTOVER_AGE_SECONDS
        for entry in os.scandir(incoming):
            with suppress(FileNotFoundError):
                if entry.name.endswith(".part") and entry.stat().st_mtime < oldest:
                    Path(entry.path).unlink()
        self._is_prepared = True

    def _explained(self, key: str) -> AbstractContextManager[None]:
        return explained(key, self._root)


def _stored(key: str, size_bytes: int, sha256: str | None) -> StoredObject:
    return StoredObject(
        key=key, size_bytes=size_bytes, content_type=content_type_of(key), sha256=sha256
    )


def _is_plain_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)
