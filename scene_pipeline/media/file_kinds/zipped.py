"""DOCX: a ZIP archive whose list of content types names a Word document.

Nothing is unpacked but the beginning of that list; the directory of the archive is read only after
its size was judged, and only where it lies where it says.
"""

import struct
import zipfile
import zlib
from dataclasses import dataclass

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_END = struct.Struct("<4s4H2IH")
_END_MAGIC = b"PK\x05\x06"
_LARGE_MAGIC = b"PK\x06\x07"
_LARGE_BYTES = 20
_ENTRY_MAGIC = b"PK\x01\x02"
_MAX_DIRECTORY_BYTES = 4 * 2**20
_MAX_ENTRIES = 10_000
_MAX_TYPES_BYTES = 256 * 1024
_TYPES, _DOCUMENT = "[Content_Types].xml", "word/document.xml"
_DOCUMENT_TYPE = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
# What else a ZIP archive may be, by a file that it holds; the first one counts.
_OTHERS = {
    "word/vbaProject.bin": "a Word document with macros",
    "xl/workbook.xml": "an Excel workbook",
    "ppt/presentation.xml": "a PowerPoint presentation",
    "AndroidManifest.xml": "an Android program",
    "META-INF/MANIFEST.MF": "a Java program",
    "META-INF/container.xml": "an EPUB book",
    "content.xml": "an OpenDocument file",
}


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the directory of an archive lies."""

    start: int
    """By its end: what lies before it in the file."""
    declared_start: int
    size: int
    entry_count: int


def find_directory(view: FileView) -> Directory | None:
    """Find the directory of an archive that ends where the file ends; None where there is none."""
    tail_start = view.size - len(view.tail)
    place = view.tail.rfind(_END_MAGIC)
    while place >= 0:
        if place + _END.size <= len(view.tail):
            _, _, _, _, count, size, offset, remark = _END.unpack_from(view.tail, place)
            start = tail_start + place - size
            ends_with_file = place + _END.size + remark == len(view.tail)
            if ends_with_file and start >= 0 and view.read(start, 4) == _ENTRY_MAGIC:
                return Directory(start, offset, size, count)
        place = view.tail.rfind(_END_MAGIC, 0, place)
    return None


def read(view: FileView) -> str:
    """Check that a ZIP archive is a Word document without macros.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    directory = find_directory(view)
    if directory is None:
        raise truncated("its directory is missing")
    if directory.start != directory.declared_start:
        raise refused("a ZIP archive with something else before it")
    if directory.entry_count > _MAX_ENTRIES or directory.size > _MAX_DIRECTORY_BYTES:
        raise refused("a ZIP archive of too many files")
    end = directory.start + directory.size
    if view.read(max(0, end - _LARGE_BYTES), _LARGE_BYTES + 4).find(_LARGE_MAGIC) >= 0:
        raise refused("a ZIP archive of the large kind")
    try:
        with zipfile.ZipFile(view.file) as archive:
            _check_document(archive)
    # What `zipfile` raises of a damaged archive, and of a compression that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise truncated("it cannot be unpacked") from error
    return "docx"


def _check_document(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    other = next((name for file, name in _OTHERS.items() if file in names), None)
    if other is not None or _TYPES not in names or _DOCUMENT not in names:
        raise refused(other or "a ZIP archive")
    if len(set(names)) != len(names):
        raise refused("a ZIP archive with several files of the same name")
    entry = archive.getinfo(_TYPES)
    if entry.flag_bits & 1 or entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise refused("an encrypted or oddly packed ZIP archive")
    with archive.open(entry) as file:
        if _DOCUMENT_TYPE not in file.read(_MAX_TYPES_BYTES):
            raise refused("a Word document of another kind than DOCX")
