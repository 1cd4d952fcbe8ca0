"""The smallest EXIF block that says how a picture came about: three texts, and nothing of a camera.

Belongs here: writing that block, and finding a comment in whatever block a file has. Does not
belong here: what the texts say (`media.metadata`), and the orientation that a camera noted
(`media.inspection`): what is stored stands upright, so no orientation is ever written.
"""

import struct
from collections.abc import Iterator

_ASCII, _LONG, _UNDEFINED = 2, 4, 7
_DESCRIPTION, _SOFTWARE, _SUB_DIRECTORY = 0x010E, 0x0131, 0x8769
_VERSION, _COMMENT = 0x9000, 0x9286
_HEADER = b"MM\x00*\x00\x00\x00\x08"
_ENTRY_BYTES = 12
# How a comment says what its bytes are.
_PLAIN_MARK, _UNICODE_MARK = b"ASCII\x00\x00\x00", b"UNICODE\x00"
_MAX_ENTRIES = 1_000
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}

_Entry = tuple[int, int, bytes]
"""Tag, type and value."""


def build_exif(description: str, software: str, comment: str) -> bytes:
    """Make the block, from its TIFF header on.

    Args:
        description: Written as UTF-8, which readers take as what the older standard calls ASCII; an
            empty one is left out.
        software: What made it.
        comment: Written as ASCII where it is, else as UTF-16.

    Returns:
        The same bytes for the same texts.
    """
    if comment.isascii():
        marked = _PLAIN_MARK + comment.encode("ascii")
    else:
        marked = _UNICODE_MARK + comment.encode("utf-16-be")
    first: list[_Entry] = [(_SOFTWARE, _ASCII, software.encode() + b"\x00")]
    if description:
        first.insert(0, (_DESCRIPTION, _ASCII, description.encode() + b"\x00"))
    # the place of the second directory does not change its own size: it is asked for with any
    second_at = len(_HEADER) + len(_directory([*first, _pointer(0)], len(_HEADER)))
    head = _directory([*first, _pointer(second_at)], len(_HEADER))
    second: list[_Entry] = [(_VERSION, _UNDEFINED, b"0232"), (_COMMENT, _UNDEFINED, marked)]
    return _HEADER + head + _directory(second, second_at)


def find_comment(block: bytes) -> str | None:
    """The comment of a block, whoever wrote it; None where there is none that can be read."""
    try:
        order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
        if order is None:
            return None
        (first,) = struct.unpack_from(f"{order}I", block, 4)
        (second,) = struct.unpack(f"{order}I", _value(block, order, first, _SUB_DIRECTORY)[:4])
        return _decoded(_value(block, order, second, _COMMENT))
    except (struct.error, UnicodeDecodeError, LookupError):
        return None


def _pointer(place: int) -> _Entry:
    return _SUB_DIRECTORY, _LONG, struct.pack(">I", place)


def _directory(entries: list[_Entry], place: int) -> bytes:
    """One directory with its values behind it; no other one follows."""
    table = struct.pack(">H", len(entries))
    values = b""
    values_at = place + len(table) + _ENTRY_BYTES * len(entries) + 4
    for tag, kind, value in entries:
        count = len(value) // _TYPE_BYTES[kind]
        if len(value) <= 4:
            shown = value.ljust(4, b"\x00")
        else:
            shown = struct.pack(">I", values_at + len(values))
            values += value + b"\x00" * (len(value) % 2)
        table += struct.pack(">HHI", tag, kind, count) + shown
    return table + b"\x00\x00\x00\x00" + values


def _value(block: bytes, order: str, place: int, wanted: int) -> bytes:
    """The value of a tag in the directory at that place.

    Raises:
        KeyError: There is none.
        struct.error: The block is cut.
    """
    for start in _entries(block, order, place):
        tag, kind, count = struct.unpack_from(f"{order}HHI", block, start)
        if tag != wanted:
            continue
        size = count * _TYPE_BYTES[kind]
        at = start + 8 if size <= 4 else struct.unpack_from(f"{order}I", block, start + 8)[0]
        return block[at : at + size]
    raise KeyError(wanted)


def _entries(block: bytes, order: str, place: int) -> Iterator[int]:
    (count,) = struct.unpack_from(f"{order}H", block, place)
    for number in range(min(count, _MAX_ENTRIES)):
        yield place + 2 + number * _ENTRY_BYTES


def _decoded(value: bytes) -> str:
    mark, text = value[:8], value[8:]
    if mark == _UNICODE_MARK:
        # writers disagree on whether the block's byte order holds; a comment of ours tells by its
        # first character, which is ASCII
        return text.decode("utf-16-be" if text[:1] == b"\x00" else "utf-16-le")
    return text.decode("utf-8").rstrip("\x00 ")
