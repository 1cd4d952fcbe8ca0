"""JPEG: segments of marker, length and data, entropy-coded scans between them, ended by EOI."""

import re
import struct
from collections.abc import Iterator

from scene_pipeline.errors import ImageError
from scene_pipeline.media.containers.base import (
    COMMENT,
    Blocks,
    Stripped,
    not_image,
    reassemble,
    truncated,
)

MAGIC = b"\xff\xd8\xff"
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
# markers without a length: TEM and the restarts
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF = b"Exif\x00\x00"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
# What an application segment must begin with to be kept: density, colour profile, colour transform.
_KEPT_APPLICATION = {_APP0: b"JFIF\x00", _APP2: b"ICC_PROFILE\x00", _APP14: b"Adobe"}
# Within a scan 0xFF is followed by 0x00 or a restart; anything else is the next marker.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FILL = re.compile(rb"\xff+")
"""Fill bytes before a marker, and the first byte of the marker itself."""
MAX_SEGMENT_BYTES = 65533


def strip(data: bytes) -> Stripped:
    """Cut what follows EOI and take comments and foreign application segments away.

    Raises:
        ImageError: not_image, truncated_image (no EOI, a cut segment), not_allowed (several
            pictures in one file, MPO).
    """
    kept: list[memoryview] = []
    exif: bytes | None = None
    view = memoryview(data)
    end = 0
    has_frame_header = has_scan = has_foreign = False
    for marker, start, end in _segments(data):
        has_frame_header = has_frame_header or marker in _FRAME_HEADERS
        has_scan = has_scan or marker == _SOS
        if _is_kept(data, marker, start):
            kept.append(view[start:end])
            continue
        has_foreign = True
        if marker == _APP1 and exif is None and data.startswith(_EXIF, start + 4):
            exif = data[start + 4 + len(_EXIF) : end]
    if not (has_frame_header and has_scan):
        raise not_image("the JPEG has no frame")
    clean = reassemble(data, end, kept, is_changed=has_foreign)
    return Stripped(clean, end < len(data), has_foreign, exif)


def insert_blocks(data: bytes, blocks: Blocks) -> bytes:
    """Put EXIF and XMP, an APP1 segment each, behind the JFIF header of a stripped file."""
    position = 2
    for marker, _, end in _segments(data):
        if marker not in {_SOI, _APP0}:
            break
        position = end
    segments = [
        struct.pack(">BBH", 0xFF, _APP1, len(mark) + len(body) + 2) + mark + body
        for mark, body in ((_EXIF, blocks.exif), (_XMP, blocks.xmp))
        if body is not None
    ]
    return b"".join((data[:position], *segments, data[position:]))


def find_blocks(data: bytes) -> Blocks:
    """The first of each kind of block before the pixels."""
    xmp = exif = None
    texts: dict[str, str] = {}
    for marker, start, end in _segments(data):
        if marker == _SOS:
            break
        if marker == _APP1 and data.startswith(_XMP, start + 4):
            xmp = xmp or data[start + 4 + len(_XMP) : end]
        elif marker == _APP1 and data.startswith(_EXIF, start + 4):
            exif = exif or data[start + 4 + len(_EXIF) : end]
        elif marker == _COM:
            texts.setdefault(COMMENT, data[start + 4 : end].decode("utf-8", "replace"))
    return Blocks(xmp, exif, texts)


def _is_kept(data: bytes, marker: int, start: int) -> bool:
    if marker == _APP2 and data.startswith(b"MPF\x00", start + 4):
        raise ImageError("The JPEG holds several pictures (MPO).", code="not_allowed")
    if _APP0 <= marker <= _APP15:
        prefix = _KEPT_APPLICATION.get(marker)
        return prefix is not None and data.startswith(prefix, start + 4)
    return marker != _COM


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Give marker, start and end of each segment up to EOI; a scan's data belongs to its SOS."""
    if len(data) < 4 or not data.startswith(MAGIC):
        raise not_image("the JPEG header is missing")
    yield _SOI, 0, 2
    start = 2
    while True:
        fill = _FILL.match(data, start)
        position = start if fill is None else fill.end() - 1
        if position + 2 > len(data):
            raise truncated("its end is missing")
        marker = data[position + 1]
        if data[position] != 0xFF or marker in {0x00, _SOI}:
            raise truncated("a block does not begin where it should")
        if marker == _EOI or marker in _BARE:
            end = position + 2
        else:
            end = _segment_end(data, position, marker)
        # fill bytes are dropped: they would move the places where a segment's data begins
        yield marker, position, end
        if marker == _EOI:
            return
        start = end


def _segment_end(data: bytes, position: int, marker: int) -> int:
    if position + 4 > len(data):
        raise truncated("it ends within a block")
    (length,) = struct.unpack_from(">H", data, position + 2)
    end = position + 2 + int(length)
    if length < 2 or end > len(data):
        raise truncated("it ends within a block")
    if marker != _SOS:
        return end
    match = _MARKER_IN_SCAN.search(data, end)
    if match is None:
        raise truncated("its end is missing")
    return match.start()
