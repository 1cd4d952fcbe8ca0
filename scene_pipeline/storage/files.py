"""Files that appear whole, once and for good, and folders read in key order.

Belongs here: the order of system calls that makes a name lasting. Does not belong here: keys, and
what an error means to the reader (`storage.local`). Everything here raises `OSError` as it comes.
"""

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import Self

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})


def write_whole(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with _new_file(path, 0o644) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class UnfinishedFile:
    """A new file without its final name, in a folder that is there; gone when the block ends.

    Args:
        folder: In the file system where it will have its name.
        mode: Permissions, less the umask.
    """

    def __init__(self, folder: Path, *, mode: int = 0o644) -> None:
        self.path = folder / f"{secrets.token_hex(16)}.part"
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._file = _new_file(self.path, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._file.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    def flush(self) -> None:
        """Wait until the disk has all of it."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def discard(self) -> None:
        """Close it and take this name away; one that it was given meanwhile stays."""
        try:
            self._file.close()
        finally:
            self.path.unlink(missing_ok=True)


def _new_file(path: Path, mode: int) -> BufferedWriter:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, mode), "wb")


def pieces_of(path: Path, size_bytes: int) -> Iterator[bytes]:
    """Read a file piece by piece."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(size_bytes):
            yield piece


def name_once(unfinished: Path, target: Path, lock_file: Path) -> bool:
    """Give a finished file its name.

    Args:
        unfinished: The file, in the same file system; the caller removes this name afterwards.
        target: The name it is to have.
        lock_file: Taken where the file system knows no hard links, so that there too one of many
            writers wins.

    Returns:
        False where the name is taken.
    """
    try:
        os.link(unfinished, target, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    else:
        return True
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.lexists(target):
            return False
        unfinished.rename(target)
        return True


def make_folders(folder: Path, root: Path) -> list[Path]:
    """Make the folders down to `folder`; gives those whose entries changed, to be flushed."""
    missing = [
        parent
        for parent in (folder, *folder.parents)
        if parent.is_relative_to(root) and not parent.is_dir()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    return [parent.parent for parent in missing]


def flush_folder(folder: Path) -> None:
    """Make a change of names last; what a file system cannot do here is left to it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def walk_files(root: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """Go through plain files below `root` in key order.

    One folder is in memory at a time per level, and no folder is read in vain. Names that start
    with a dot and symbolic links are passed over.

    Args:
        root: Where keys start; one that does not exist is empty.
        prefix: What the keys start with.

    Yields:
        Key (path below `root`, with slashes) and size in bytes.
    """
    yield from _walk(root, "", prefix)


def _walk(folder: Path, above: str, prefix: str) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as found:
            entries = [
                (f"{above}{entry.name}{'/' if entry.is_dir(follow_symlinks=False) else ''}", entry)
                for entry in found
                if not entry.name.startswith(".") and not entry.is_symlink()
            ]
    except FileNotFoundError:
        return
    # The slash takes part in the comparison: "a-b" comes before "a/b".
    for key, entry in sorted(entries, key=lambda pair: pair[0]):
        if key.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(Path(entry.path), key, prefix)
        elif key.startswith(prefix):
            with suppress(FileNotFoundError):
                yield key, entry.stat(follow_symlinks=False).st_size
