"""WebP: a RIFF file of chunks, padded to even length; VP8X declares what else is inside."""

import struct
from collections.abc import Iterator

from scene_pipeline.media.containers.base import Blocks, Stripped, animated, not_image, truncated

_RIFF_HEADER = struct.Struct("<4sI4s")
_CHUNK_HEADER = struct.Struct("<4sI")
_KEPT = frozenset({b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"})
_PIXELS = frozenset({b"VP8 ", b"VP8L"})
_FLAG_ANIMATION, _FLAG_XMP, _FLAG_EXIF, _FLAG_ALPHA = 0x02, 0x04, 0x08, 0x10
_VP8X_BYTES = 10
# Before the TIFF header of some writers' EXIF, though the format knows no such mark.
_EXIF_MARK = b"Exif\x00\x00"


def is_webp(data: bytes) -> bool:
    """Whether the bytes begin like a WebP file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def strip(data: bytes) -> Stripped:
    """Cut what follows the RIFF file and take every chunk away that pixels and colours do not need.

    Raises:
        ImageError: not_image, truncated_image, animated.
    """
    kept: list[tuple[bytes, bytes]] = []
    exif: bytes | None = None
    has_foreign = False
    for kind, payload in _chunks(data):
        if _announces_animation(kind, payload):
            raise animated()
        if kind == b"VP8X":
            flags = payload[0] & ~(_FLAG_XMP | _FLAG_EXIF)
            kept.append((kind, bytes((flags,)) + payload[1:]))
        elif kind in _KEPT:
            kept.append((kind, payload))
        else:
            has_foreign = True
            if kind == b"EXIF":
                exif = payload.removeprefix(_EXIF_MARK)
    if not any(kind in _PIXELS for kind, _ in kept):
        raise truncated("it holds no pixels")
    file_end = 8 + _riff_size(data)
    clean = _assemble(kept)
    return Stripped(
        data if clean == data else clean, len(data) > file_end + file_end % 2, has_foreign, exif
    )


def animation_end(data: bytes) -> int | None:
    """Where an animated file ends; None for a still.

    Raises:
        ImageError: not_image, truncated_image.
    """
    # all chunks are walked, so that one that is cut is found
    is_animated = any([_announces_animation(*chunk) for chunk in _chunks(data)])  # noqa: C419
    return 8 + _riff_size(data) if is_animated else None


def insert_blocks(data: bytes, blocks: Blocks) -> bytes:
    """Append EXIF and XMP to a stripped file, with the VP8X header that announces them."""
    chunks = list(_chunks(data))
    first_kind, first_payload = chunks[0]
    if first_kind == b"VP8X":
        header, rest = first_payload, chunks[1:]
    else:
        header, rest = _extended_header(first_kind, first_payload), chunks
    flags = header[0]
    added = []
    for kind, flag, body in ((b"EXIF", _FLAG_EXIF, blocks.exif), (b"XMP ", _FLAG_XMP, blocks.xmp)):
        if body is not None:
            flags |= flag
            added.append((kind, body))
    return _assemble([(b"VP8X", bytes((flags,)) + header[1:]), *rest, *added])


def find_blocks(data: bytes) -> Blocks:
    """The first of each kind of block."""
    xmp = exif = None
    for kind, payload in _chunks(data):
        if kind == b"XMP ":
            xmp = xmp or payload
        elif kind == b"EXIF":
            exif = exif or payload.removeprefix(_EXIF_MARK)
    return Blocks(xmp, exif)


def _announces_animation(kind: bytes, payload: bytes) -> bool:
    """Whether a chunk belongs to a file of several frames."""
    return kind in {b"ANIM", b"ANMF"} or (kind == b"VP8X" and bool(payload[0] & _FLAG_ANIMATION))


def _riff_size(data: bytes) -> int:
    if len(data) < _RIFF_HEADER.size + _CHUNK_HEADER.size or not is_webp(data):
        raise not_image("the WebP header is missing")
    size = int(_RIFF_HEADER.unpack_from(data)[1])
    if size + 8 > len(data):
        raise truncated("its end is missing")
    return size


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give type and payload of each chunk within the length that the file declares."""
    file_end = 8 + _riff_size(data)
    position = _RIFF_HEADER.size
    while position < file_end:
        if position + _CHUNK_HEADER.size > file_end:
            raise truncated("it ends within a block")
        kind, length = _CHUNK_HEADER.unpack_from(data, position)
        start = position + _CHUNK_HEADER.size
        if start + length > file_end or (kind == b"VP8X" and length < _VP8X_BYTES):
            raise truncated("it ends within a block")
        yield kind, data[start : start + length]
        position = start + length + length % 2


def _assemble(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        part
        for kind, payload in chunks
        for part in (_CHUNK_HEADER.pack(kind, len(payload)), payload, b"\x00" * (len(payload) % 2))
    )
    return _RIFF_HEADER.pack(b"RIFF", len(body) + 4, b"WEBP") + body


def _extended_header(kind: bytes, payload: bytes) -> bytes:
    """VP8X's payload for a simple file: flags, then width and height less one, 24 bits each."""
    if kind == b"VP8L" and len(payload) >= 5:
        bits = int.from_bytes(payload[1:5], "little")
        width, height = bits & 0x3FFF, bits >> 14 & 0x3FFF
        flags = _FLAG_ALPHA if bits >> 28 & 1 else 0
    elif kind == b"VP8 " and len(payload) >= 10:
        raw_width, raw_height = struct.unpack_from("<HH", payload, 6)
        width, height, flags = (raw_width & 0x3FFF) - 1, (raw_height & 0x3FFF) - 1, 0
    else:
        raise truncated("its pixels have no header")
    return bytes((flags, 0, 0, 0)) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
