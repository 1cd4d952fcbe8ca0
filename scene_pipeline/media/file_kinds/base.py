"""What every module here reads from, and the errors that they share."""

import os
from functools import cached_property
from typing import IO

from scene_pipeline.errors import FileRefusedError

HEAD_BYTES = 64 * 1024
TAIL_BYTES = 66 * 1024
"""More than the longest end of a ZIP archive and the longest page of an Ogg file."""
# A fragmented film of some hours has some ten thousand blocks.
_MAX_READS = 200_000
_MAX_READ_BYTES = 64 * 2**20


class FileView:
    """A file of any size, of which a bounded part is read, a bounded number of times.

    Args:
        file: Open for reading; not closed here.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._reads_left = _MAX_READS
        self._bytes_left = _MAX_READ_BYTES
        self.size = os.fstat(file.fileno()).st_size

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB."""
        return self.read(0, HEAD_BYTES)

    @cached_property
    def tail(self) -> bytes:
        """The last 66 KiB."""
        return self.read(max(0, self.size - TAIL_BYTES), TAIL_BYTES)

    def read(self, offset: int, size: int) -> bytes:
        """Read at a place; less than asked for where the file ends.

        Raises:
            FileRefusedError: More was read already than recognising a file takes.
        """
        self._reads_left -= 1
        self._bytes_left -= size
        if self._reads_left < 0 or self._bytes_left < 0:
            raise refused("a file of too many parts")
        return os.pread(self.file.fileno(), size, offset) if offset < self.size else b""


def refused(name: str) -> FileRefusedError:
    """The error for a file that is known, or seen not, to be none that is taken."""
    return FileRefusedError(f"The file is {name}; that is not taken.")


def truncated(reason: str) -> FileRefusedError:
    """The error for a file that is cut or damaged; a second download may bring it whole."""
    return FileRefusedError(
        f"The file is incomplete or damaged: {reason}.",
        code="truncated_file",
        next_action="Give the whole file.",
        retryable=True,
    )
