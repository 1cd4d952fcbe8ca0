"""Ogg: pages with checksums, of streams whose first pages come first and name the codec."""

import struct

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_CAPTURE = b"OggS\0"
_PAGE = struct.Struct("<4sBBqIIIB")
_MAX_PAGE_BYTES = 27 + 255 + 255 * 255
_BEGINS_STREAM = 0x02
_MAX_STREAMS = 16
_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_PICTURES = (b"\x80theora", b"BBCD\0", b"\x01video", b"\x80daala")
_POLYNOMIAL = 0x04C11DB7


def read(view: FileView) -> str:
    """Check that the streams are sound, and that the last page ends with the file.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    has_sound = False
    start = 0
    for _ in range(_MAX_STREAMS):
        page = view.read(start, _MAX_PAGE_BYTES)
        end = _page_end(page, 0)
        if end is None or end > len(page):
            raise truncated("it ends within a page")
        if not page[5] & _BEGINS_STREAM:
            break
        if not _has_right_checksum(page[:end]):
            raise truncated("a page's checksum is wrong")
        packet = page[_PAGE.size + page[26] : end]
        if packet.startswith(_PICTURES):
            raise refused("Ogg video")
        has_sound = has_sound or packet.startswith(_SOUND)
        start += end
    if not has_sound:
        raise refused("an Ogg file without known sound")
    _check_end(view)
    return "ogg"


def _check_end(view: FileView) -> None:
    place = view.tail.rfind(_CAPTURE)
    while place >= 0:
        if _page_end(view.tail, place) == len(view.tail):
            return
        place = view.tail.rfind(_CAPTURE, 0, place)
    raise truncated("its last page is cut")


def _page_end(data: bytes, start: int) -> int | None:
    """Where a page ends that begins at a place; None where it is none or its header is cut."""
    if not data.startswith(_CAPTURE, start) or start + _PAGE.size > len(data):
        return None
    table_end = start + _PAGE.size + data[start + 26]
    if table_end > len(data):
        return None
    return table_end + sum(data[start + _PAGE.size : table_end])


def _has_right_checksum(page: bytes) -> bool:
    (declared,) = struct.unpack_from("<I", page, 22)
    checksum = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _TABLE[checksum >> 24 ^ byte]
    return bool(checksum == declared)


def _table_entry(byte: int) -> int:
    entry = byte << 24
    for _ in range(8):
        entry = (entry << 1 ^ (_POLYNOMIAL if entry & 0x80000000 else 0)) & 0xFFFFFFFF
    return entry


_TABLE = tuple(_table_entry(byte) for byte in range(256))
