"""An inbox that is a folder.

Belongs here: reading files that other programs may be writing, replacing or removing at the same
time. Does not belong here: what they say.

Links are never followed, and what is no plain file is never opened: a pipe would hold the tick up,
a device could do anything. A fingerprint is size, time of modification and time of change of the
file, which no program can set back.
"""

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from scene_pipeline.errors import ConfigurationError, Problem, UsageError
from scene_pipeline.pipeline.inbox.sources import (
    MAX_FILES,
    NOT_OURS,
    Deadline,
    InboxEntry,
    Listing,
    is_document_name,
    named,
)
from scene_pipeline.scenes.json_text import MAX_DOCUMENT_BYTES
from scene_pipeline.storage.files import flush_folder, write_whole

MAX_EXAMINED = 200_000
"""Members of the folder that are looked at by name."""
MAX_OUTPUT_BYTES = 2 * MAX_DOCUMENT_BYTES
"""A file beside that is larger than this was not written by us."""
LEFTOVER_SECONDS = 3600.0
"""An unfinished file of ours that is older belongs to a process that died."""

_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UNFINISHED = (".scene-pipeline-", ".part")
_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR})
_NOT_OURS = frozenset({errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM})
"""Opening a link, a socket, or a file that is closed to us."""
_CHUNK_BYTES = 1024 * 1024


class FolderInbox:
    """A folder of documents.

    Args:
        folder: Its path; a link here is followed, those within are not.
        clock: Seconds since the epoch, as the file system counts them.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder.resolve()
        self._clock = clock

    @property
    def address(self) -> str:
        """See `InboxSource.address`."""
        return str(self._folder)

    def list(self, deadline: Deadline) -> Listing:
        """See `InboxSource.list`."""
        entries: list[InboxEntry] = []
        is_complete = True
        try:
            with os.scandir(self._folder) as members:
                for examined, member in enumerate(members):
                    if examined == MAX_EXAMINED or len(entries) == MAX_FILES or deadline.is_over:
                        is_complete = False
                        break
                    entry = self._look_at(member)
                    if entry is not None:
                        entries.append(entry)
        except OSError as error:
            raise self._unusable("read", error) from error
        return Listing(tuple(sorted(entries, key=lambda entry: entry.path)), is_complete)

    def read(self, entry: InboxEntry) -> bytes | None:
        """See `InboxSource.read`."""
        try:
            descriptor = os.open(self._folder / entry.path, _OPEN_FLAGS)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise self._unreadable(entry.path, error) from error
        try:
            if _fingerprint(os.fstat(descriptor)) != entry.fingerprint:
                return None
            data = _read_bounded(descriptor, MAX_DOCUMENT_BYTES)
            is_same = _fingerprint(os.fstat(descriptor)) == entry.fingerprint
        except OSError as error:
            raise self._unreadable(entry.path, error) from error
        finally:
            os.close(descriptor)
        return data if is_same and data is not None and len(data) == entry.size_bytes else None

    def origin(self, path: str) -> str:
        """See `InboxSource.origin`."""
        return str(self._folder / path)

    def output_digest(self, name: str) -> str | None:
        """See `InboxSource.output_digest`."""
        try:
            descriptor = os.open(self._folder / name, _OPEN_FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NOT_OURS:
                return NOT_OURS
            raise self._unreadable(name, error) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return NOT_OURS
            data = _read_bounded(descriptor, MAX_OUTPUT_BYTES)
        except OSError as error:
            raise self._unreadable(name, error) from error
        finally:
            os.close(descriptor)
        return NOT_OURS if data is None else hashlib.sha256(data).hexdigest()

    def write_output(self, name: str, data: bytes, sha256: str) -> None:  # noqa: ARG002  # of buckets
        """See `InboxSource.write_output`; flushed to the disk before it gets its name."""
        unfinished = self._unfinished()
        try:
            try:
                write_whole(unfinished, data)
                unfinished.replace(self._folder / name)
            finally:
                unfinished.unlink(missing_ok=True)
            flush_folder(self._folder)
        except OSError as error:
            raise self._unusable("written to", error) from error

    def probe(self) -> None:
        """See `InboxSource.probe`."""
        unfinished = self._unfinished()
        try:
            next(self._folder.iterdir(), None)
        except OSError as error:
            raise self._unusable("read", error) from error
        try:
            write_whole(unfinished, b"")
            unfinished.unlink()
        except OSError as error:
            raise self._unusable("written to", error) from error

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _unfinished(self) -> Path:
        return self._folder / secrets.token_hex(8).join(_UNFINISHED)

    def _look_at(self, member: "os.DirEntry[str]") -> InboxEntry | None:
        if not is_document_name(member.name):
            self._clear_leftover(member)
            return None
        try:
            facts = member.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        path, obstacle = named(member.name)
        if not stat.S_ISREG(facts.st_mode):
            kind = "a link" if stat.S_ISLNK(facts.st_mode) else "no plain file"
            obstacle = obstacle or Problem(
                "not_a_file", "$", f"It is {kind}, which is never opened here."
            )
            return InboxEntry(
                path, f"mode {stat.S_IFMT(facts.st_mode):o}", 0, float("inf"), obstacle
            )
        return InboxEntry(
            path=path,
            fingerprint=_fingerprint(facts),
            size_bytes=facts.st_size,
            # A clock that is set back, or another machine's, must not make a file wait for ever.
            age_seconds=abs(self._clock() - facts.st_mtime),
            obstacle=obstacle,
        )

    def _clear_leftover(self, member: "os.DirEntry[str]") -> None:
        """Remove what a process of ours that died was writing."""
        if member.name.startswith(_UNFINISHED[0]) and member.name.endswith(_UNFINISHED[1]):
            with suppress(OSError):
                age = self._clock() - member.stat(follow_symlinks=False).st_mtime
                if age > LEFTOVER_SECONDS:
                    Path(member.path).unlink()

    def _unreadable(self, name: str, error: OSError) -> UsageError:
        return UsageError(
            f"{self._folder / name} cannot be read: {_reason(error)}.",
            code="file_unreadable",
            next_action="Let this user read the file; it is tried again by itself.",
        )

    def _unusable(self, how: str, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"The inbox {self._folder} cannot be {how}: {_reason(error)}.",
            code="inbox_not_readable" if how == "read" else "inbox_not_writable",
            next_action=f"See that the folder is there and can be {how} by this user, or let"
            " SCENE_PIPELINE_INBOX name another.",
        )


def _fingerprint(facts: os.stat_result) -> str:
    if not stat.S_ISREG(facts.st_mode):
        return "no plain file"
    return f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"


def _read_bounded(descriptor: int, limit: int) -> bytes | None:
    """All of a file; None where it holds more than the limit."""
    chunks: list[bytes] = []
    total = 0
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        total += len(chunk)
        if total > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else "the operating system gave no reason"
    return text[:1].lower() + text[1:]
