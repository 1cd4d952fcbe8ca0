"""PNG: a signature, then chunks of length, type, data and CRC, ended by IEND."""

import struct
import zlib
from collections.abc import Iterator

from scene_pipeline.media.containers.base import (
    COMMENT,
    Blocks,
    Stripped,
    animated,
    not_image,
    reassemble,
    truncated,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 25
_MAX_CHUNK_BYTES = 2**31 - 1
_XMP_KEYWORD = b"XML:com.adobe.xmp"
# After the keyword of an iTXt chunk: uncompressed, no language, no translated keyword.
_PLAIN_ITXT = b"\x00\x00\x00\x00\x00"
_TEXT_ENCODINGS = {b"tEXt": "latin-1", b"iTXt": "utf-8"}
# Pixels, and what makes their colours right; everything else is somebody's remark.
_KEPT = frozenset(
    {
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"bKGD", b"cHRM", b"cICP", b"cLLI", b"gAMA",
        b"iCCP", b"mDCV", b"pHYs", b"sBIT", b"sRGB",
    }
)  # fmt: skip


def strip(data: bytes) -> Stripped:
    """Cut what follows IEND and take every chunk away that pixels and colours do not need.

    Raises:
        ImageError: not_image, truncated_image (a chunk is missing, cut or fails its CRC), animated.
    """
    view = memoryview(data)
    kept = [view[: len(SIGNATURE)]]
    exif: bytes | None = None
    end = len(SIGNATURE)
    has_pixels = has_foreign = False
    for kind, start, end in _chunks(data):
        if _announces_animation(data, kind, start, end):
            raise animated()
        if kind in _KEPT:
            kept.append(view[start:end])
            has_pixels = has_pixels or kind == b"IDAT"
        else:
            has_foreign = True
            if kind == b"eXIf":
                exif = data[start + 8 : end - 4]
    if not has_pixels:
        raise truncated("it holds no pixels")
    clean = reassemble(data, end, kept, is_changed=has_foreign)
    return Stripped(clean, end < len(data), has_foreign, exif)


def animation_end(data: bytes) -> int | None:
    """Where an animated file ends; None for a still.

    Raises:
        ImageError: not_image, truncated_image.
    """
    is_animated = False
    end = 0
    for kind, start, end in _chunks(data):
        is_animated = is_animated or _announces_animation(data, kind, start, end)
    return end if is_animated else None


def insert_blocks(data: bytes, blocks: Blocks) -> bytes:
    """Put XMP, EXIF and texts right behind the header of a stripped file."""
    chunks = [] if blocks.xmp is None else [_chunk(b"iTXt", _XMP_KEYWORD, _PLAIN_ITXT, blocks.xmp)]
    chunks += [] if blocks.exif is None else [_chunk(b"eXIf", blocks.exif)]
    chunks += [_text_chunk(keyword.encode(), text) for keyword, text in blocks.texts.items()]
    return b"".join((data[:_HEADER_END], *chunks, data[_HEADER_END:]))


def find_blocks(data: bytes) -> Blocks:
    """The first uncompressed XMP packet, the EXIF block, and the comment."""
    xmp = exif = None
    texts: dict[str, str] = {}
    for kind, start, end in _chunks(data):
        if kind == b"eXIf":
            exif = exif or data[start + 8 : end - 4]
        if kind not in _TEXT_ENCODINGS:
            continue
        keyword, _, text = data[start + 8 : end - 4].partition(b"\x00")
        if kind == b"iTXt":
            # language tag and translated keyword, each ended by NUL, come before the text
            is_plain = text.startswith(b"\x00\x00")
            text = text[2:].split(b"\x00", 2)[-1] if is_plain else b""
        if keyword == _XMP_KEYWORD:
            xmp = xmp or text or None
        elif keyword == COMMENT.encode() and text:
            texts.setdefault(COMMENT, text.decode(_TEXT_ENCODINGS[kind], "replace"))
    return Blocks(xmp, exif, texts)


def _text_chunk(keyword: bytes, text: str) -> bytes:
    # the older kind of chunk, which every program reads, holds no other characters
    if text.isascii():
        return _chunk(b"tEXt", keyword, b"\x00", text.encode())
    return _chunk(b"iTXt", keyword, _PLAIN_ITXT, text.encode())


def _chunk(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join((kind, *parts))
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _announces_animation(data: bytes, kind: bytes, start: int, end: int) -> bool:
    """Whether a chunk announces more than one frame."""
    return kind == b"acTL" and end - start >= 16 and data[start + 8 : start + 12] > b"\0\0\0\x01"


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give type, start and end of each chunk up to IEND, all within `data`."""
    if len(data) < _HEADER_END or not data.startswith(b"\0\0\0\x0dIHDR", len(SIGNATURE)):
        raise not_image("the PNG header is missing")
    start = len(SIGNATURE)
    while True:
        if start + 12 > len(data):
            raise truncated("its end is missing")
        (length,) = struct.unpack_from(">I", data, start)
        kind = data[start + 4 : start + 8]
        end = start + 12 + length
        if length > _MAX_CHUNK_BYTES or end > len(data):
            raise truncated("it ends within a block")
        (crc,) = struct.unpack_from(">I", data, end - 4)
        if kind in _KEPT and zlib.crc32(memoryview(data)[start + 4 : end - 4]) != crc:
            raise truncated("a block's checksum is wrong")
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end
