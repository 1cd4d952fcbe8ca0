"""DOC: a compound file (OLE2), which is a small file system; a stream's name tells what it holds.

Its parts: a header, a table that chains sectors (FAT), whose own sectors the header lists, and a
directory whose entries form a tree below the root.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_HEADER_BYTES = 512
_ENTRY_BYTES = 128
_LISTED_TABLE_SECTORS = 109
_MAX_DIRECTORY_SECTORS = 1024
_LAST_SECTOR = 0xFFFFFFFA
_NOBODY = 0xFFFFFFFF
_SECTOR_SHIFTS = (9, 12)
# Streams that only one program writes at the root.
_DOCUMENT = "WordDocument"
_OTHERS = {
    "Workbook": "an Excel workbook",
    "Book": "an Excel workbook",
    "PowerPoint Document": "a PowerPoint presentation",
    "__properties_version1.0": "an Outlook message",
    "VisioDocument": "a Visio drawing",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    left: int
    right: int
    child: int


def read(view: FileView) -> str:
    """Check that the root of the file holds a Word document.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    if len(view.head) < _HEADER_BYTES:
        raise truncated("it ends within its header")
    (shift,) = struct.unpack_from("<H", view.head, 30)
    if shift not in _SECTOR_SHIFTS:
        raise refused("no DOC, although it begins like one")
    entries = [
        entry
        for sector in _directory_sectors(view, 1 << shift)
        for entry in _entries(_sector(view, sector, 1 << shift))
    ]
    names = _names_at_root(entries)
    if _DOCUMENT in names:
        return "doc"
    known = (name for stream, name in _OTHERS.items() if stream in names)
    raise refused(next(known, "a compound file other than DOC"))


def _directory_sectors(view: FileView, sector_bytes: int) -> Iterator[int]:
    """Follow the chain of the directory; a chain that goes in a circle ends at the bound."""
    (sector,) = struct.unpack_from("<I", view.head, 48)
    for _ in range(_MAX_DIRECTORY_SECTORS):
        yield sector
        per_sector = sector_bytes // 4
        table_index, place = divmod(sector, per_sector)
        if table_index >= _LISTED_TABLE_SECTORS:
            raise refused("a compound file too large for a DOC")
        (table_sector,) = struct.unpack_from("<I", view.head, 76 + 4 * table_index)
        table = _sector(view, table_sector, sector_bytes)
        (sector,) = struct.unpack_from("<I", table, 4 * place)
        if sector >= _LAST_SECTOR:
            return
    raise refused("a compound file of too many parts")


def _sector(view: FileView, number: int, sector_bytes: int) -> bytes:
    if number >= _LAST_SECTOR:
        raise truncated("its directory is missing")
    data = view.read((number + 1) * sector_bytes, sector_bytes)
    if len(data) < sector_bytes:
        raise truncated("its directory is missing")
    return data


def _entries(sector: bytes) -> Iterator[_Entry]:
    for start in range(0, len(sector), _ENTRY_BYTES):
        (name_bytes,) = struct.unpack_from("<H", sector, start + 64)
        raw = sector[start : start + min(max(name_bytes - 2, 0), 62)]
        yield _Entry(
            raw.decode("utf-16-le", "replace"), *struct.unpack_from("<III", sector, start + 68)
        )


def _names_at_root(entries: list[_Entry]) -> set[str]:
    """Names of what lies directly below the root, the first entry."""
    names: set[str] = set()
    seen: set[int] = set()
    waiting = [entries[0].child]
    while waiting:
        number = waiting.pop()
        if number == _NOBODY or number in seen or number >= len(entries):
            continue
        seen.add(number)
        names.add(entries[number].name)
        waiting += [entries[number].left, entries[number].right]
    return names
