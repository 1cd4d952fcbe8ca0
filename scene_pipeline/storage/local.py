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
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import StoredObject, UrlMode
from scene_pipeline.storage.files import (
    flush_folder,
    make_folders,
    name_once,
    walk_files,
    write_whole,
)
from scene_pipeline.storage.keys import (
    check_key,
    check_object,
    check_prefix,
    check_size,
    content_type_of,
    foreign_object,
    missing_object,
)

INCOMING = ".incoming"
"""Folder of unfinished files; no key can name it."""
LEFTOVER_AGE_SECONDS = 24 * 3600.0
"""An upload takes seconds, so what is older than a day belongs to a process that died."""
FRAMES_PATH = "/frames/"
"""Where the frame server shows the store's keys, below the public URL."""

_CHUNK_BYTES = 1024 * 1024
_OTHER_THINGS = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST})


class LocalStore:
    """Objects as files below a directory.

    Args:
        directory: Made when first written to. A symbolic link here is followed; one further down
            that leads out of it is not.
        public_base_url: Address at which `scene_pipeline.api` serves this directory, without a
            trailing slash.
    """

    def __init__(self, directory: Path, public_base_url: str) -> None:
        self._root = directory.absolute()
        self._public_base_url = public_base_url.rstrip("/")
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
        facts = StoredObject(
            key=key, size_bytes=len(data), content_type=content_type, sha256=sha256
        )
        with self._explained(key):
            self._prepare()
            target = self._path(key)
            made = make_folders(target.parent, self._root)
            # Asked again after the folders exist, since a link may stand where one was expected.
            target = self._path(key)
            unfinished = self._root / INCOMING / f"{secrets.token_hex(16)}.part"
            try:
                write_whole(unfinished, data)
                is_ours = name_once(unfinished, target, self._root / INCOMING / "lock")
            finally:
                unfinished.unlink(missing_ok=True)
            for folder in (target.parent, *made):
                flush_folder(folder)
            if not is_ours and not _is_plain_file(target):
                raise FileExistsError(errno.EEXIST, "not a file")
        if not is_ours and self.read(key) != data:
            raise foreign_object(key)
        return facts

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`."""
        with self._explained(key):
            return b"".join(self._chunks(key))

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
        return StoredObject(
            key=key,
            size_bytes=size_bytes,
            content_type=content_type_of(key),
            sha256=digest.hexdigest(),
        )

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
                yield StoredObject(
                    key=found_key,
                    size_bytes=size_bytes,
                    content_type=content_type_of(found_key),
                    sha256=None,
                )

    def url(self, key: str, mode: UrlMode = "public") -> str:  # noqa: ARG002 (one kind of address)
        """See `ObjectStore.url`; the frame server shows every object, so all modes are equal."""
        return f"{self._public_base_url}{FRAMES_PATH}{check_key(key)}"

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

    def _path(self, key: str) -> Path:
        path = self._root / check_key(key)
        root = self._root.resolve()
        if not path.parent.resolve().is_relative_to(root):
            raise StorageError(f"{key} leads out of {self._root}.", code="key_invalid")
        return path

    def _chunks(self, key: str) -> Iterator[bytes]:
        # O_NONBLOCK: a named pipe in the tree must not hold a reader up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path(key), flags)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise missing_object(key)
            check_size(key, facts.st_size)
            while chunk := os.read(descriptor, _CHUNK_BYTES):
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

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn the operating system's refusals into this package's errors."""
        try:
            yield
        except FileNotFoundError as error:
            raise missing_object(key) from error
        except OSError as error:
            raise _refusal(key, self._root, error) from error


def _is_plain_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _refusal(key: str, root: Path, error: OSError) -> StorageError:
    if error.errno in _OTHER_THINGS:
        message = f"{key} cannot be stored in {root}: something else stands at that path."
        return StorageError(message, code="key_invalid")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        message = f"The disk of {root} is full, so {key} was not stored."
        action = "Free some space there, or name another directory in SCENE_PIPELINE_STORAGE."
        return StorageError(message, code="storage_full", next_action=action)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        message = f"{root} does not allow this process to read or write {key}."
        action = f"Give this user access to {root}, or name another in SCENE_PIPELINE_STORAGE."
        return StorageError(message, code="storage_denied", next_action=action)
    reason = os.strerror(error.errno) if error.errno else "the operating system gave no reason"
    return StorageError(f"{key} failed in {root}: {reason}.", retryable=error.errno == errno.EIO)
