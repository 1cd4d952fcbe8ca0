"""What a file is, by its content and never by its name or by what somebody declared.

Mode of operation: the first bytes choose one reader, which checks the structure of its kind as far
as that is cheap and sure. Some places of the file are read, never all of it, and nothing is
decoded. Whatever no reader takes is refused, by name where it has one.

Belongs here: the order of trying, and one verdict. Does not belong here: the structure of each kind
(`media.file_kinds`) and the pixels of pictures (`media.inspection`).
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scene_pipeline.errors import FileRefusedError
from scene_pipeline.media.containers import gif, jpeg, png
from scene_pipeline.media.file_kinds import (
    compound,
    iso_media,
    markup,
    matroska,
    mpeg_audio,
    ogg,
    pdf,
    riff,
    zipped,
)
from scene_pipeline.media.file_kinds.base import FileView, refused
from scene_pipeline.media.file_types import FILE_TYPES
from scene_pipeline.media.refused_types import refused_name
from scene_pipeline.scenes.identity import MediaType

Reader = Callable[[FileView], str]
"""Gives the extension of a kind of file; FileRefusedError where it is none, or a broken one."""

# Where magic bytes stand, and who reads on; pictures are decoded completely afterwards.
_READERS: tuple[tuple[int, bytes, Reader], ...] = (
    (0, png.SIGNATURE, lambda _: "png"),
    (0, jpeg.MAGIC, lambda _: "jpg"),
    (0, gif.MAGIC, lambda _: "gif"),
    (0, b"RIFF", riff.read),
    (4, b"ftyp", iso_media.read),
    (0, b"\x1a\x45\xdf\xa3", matroska.read),
    (0, b"OggS", ogg.read),
    (0, b"ID3", mpeg_audio.read),
    (0, b"%PDF-", pdf.read),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", compound.read),
    (0, b"PK\x03\x04", zipped.read),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file of a kind that is taken."""

    media: MediaType
    mime_type: str
    extension: str
    is_svg: bool
    """Whether it is a drawing that can run scripts: taken only where a setting says so."""


def recognise(path: Path) -> Recognised:
    """Say what a file is.

    Raises:
        FileRefusedError: file_not_allowed (it is nothing that is taken, or two things at once),
            truncated_file, file_unreadable.
    """
    with open_file(path) as view:
        return recognise_view(view)


def recognise_view(view: FileView) -> Recognised:
    """As `recognise`, of a file that is open."""
    extension = _reader_of(view)(view)
    found = FILE_TYPES[extension]
    if extension != "docx" and zipped.find_directory(view) is not None:
        raise refused(f"{found.name} with a ZIP archive behind it")
    return Recognised(found.media, found.mime_type, extension, extension == "svg")


@contextmanager
def open_file(path: Path) -> Iterator[FileView]:
    """Open a file that is to be recognised.

    Raises:
        FileRefusedError: file_unreadable: it is not there, may not be read, or is no file.
    """
    try:
        # not to wait for the other end of a pipe that somebody named
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error.strerror or "unknown reason") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _unreadable(path, "it is no file")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield FileView(file)


def _reader_of(view: FileView) -> Reader:
    head = view.head
    for place, magic, reader in _READERS:
        if head.startswith(magic, place):
            return reader
    if markup.is_markup(view):
        return markup.read
    name = refused_name(head)
    if name is not None:
        raise refused(name)
    if mpeg_audio.begins_like_frame(head):
        return mpeg_audio.read
    raise refused("of no known kind" if head else "empty")


def _unreadable(path: Path, reason: str) -> FileRefusedError:
    return FileRefusedError(
        f"{path.name} cannot be read: {reason}.",
        code="file_unreadable",
        next_action="Name a file that is there and may be read.",
    )
