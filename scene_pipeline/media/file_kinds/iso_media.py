"""MP4 and MOV: nested boxes of size, type and content; the first one names the brand."""

import struct
from collections.abc import Iterator

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_MAX_BRANDS = 64
_HEADER_BYTES = 16
_MOV_BRAND = b"qt  "
_MP4_BRANDS = frozenset(
    {
        b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41",
        b"mp42", b"mp71", b"avc1", b"dash", b"msdh", b"MSNV", b"M4V ", b"M4VH", b"M4VP", b"f4v ",
        b"mmp4", b"XAVC",
    }
)  # fmt: skip
# Brands that say what a file is, whatever it claims to be compatible with.
_REFUSED_BRANDS = {
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"heim": "a HEIC picture",
    b"heis": "a HEIC picture",
    b"hevc": "a HEIC picture",
    b"hevx": "a HEIC picture",
    b"mif1": "a HEIF picture",
    b"msf1": "a HEIF picture",
    b"crx ": "a camera's raw picture",
    b"M4A ": "M4A audio",
    b"M4B ": "M4A audio",
    b"M4P ": "M4A audio",
    b"F4A ": "M4A audio",
    b"F4B ": "M4A audio",
    b"jp2 ": "a JPEG 2000 picture",
    b"mjp2": "Motion JPEG 2000 video",
}


def read(view: FileView) -> str:
    """Tell MP4 from MOV, and check that the boxes fill the file and hold an index and video.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    extension = _by_brand(view)
    kinds: set[bytes] = set()
    has_video = has_sound = False
    for kind, start, end in _boxes(view, 0, view.size):
        kinds.add(kind)
        if kind == b"moov":
            handlers = set(_handlers(view, start, end))
            has_video, has_sound = b"vide" in handlers, b"soun" in handlers
    if b"moov" not in kinds:
        raise truncated("its index is missing")
    if not kinds & {b"mdat", b"moof"}:
        raise truncated("its media are missing")
    if not has_video:
        raise refused("M4A audio" if has_sound else "an MP4 file without video")
    return extension


def _by_brand(view: FileView) -> str:
    (size,) = struct.unpack_from(">I", view.head.ljust(4, b"\0"))
    count = (size - 16) // 4
    if size % 4 or not 0 <= count <= _MAX_BRANDS:
        raise refused("no MP4, although it claims to be")
    if size > view.size:
        raise truncated("it ends within a block")
    major = view.head[8:12]
    if major in _REFUSED_BRANDS:
        raise refused(_REFUSED_BRANDS[major])
    if major.startswith(b"3g"):
        raise refused("3GP video")
    brands = [major, *(view.head[place : place + 4] for place in range(16, size, 4))]
    for brand in brands:
        if brand == _MOV_BRAND:
            return "mov"
        if brand in _MP4_BRANDS:
            return "mp4"
    raise refused("an MP4 file of an unknown brand")


def _boxes(view: FileView, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give type, start of the content and end of each box; padding at the end is passed over."""
    while start + 8 <= end:
        header = view.read(start, _HEADER_BYTES)
        if header[:8] == bytes(8):
            return
        size, kind = struct.unpack_from(">I4s", header)
        content = start + 8
        if size == 1 and len(header) == _HEADER_BYTES:
            (size,) = struct.unpack_from(">Q", header, 8)
            content = start + _HEADER_BYTES
        box_end = end if size == 0 else start + size
        if box_end < content:
            raise truncated("a block does not begin where it should")
        if box_end > end:
            raise truncated("it ends within a block")
        yield kind, content, box_end
        start = box_end


def _handlers(view: FileView, start: int, end: int) -> Iterator[bytes]:
    """What each track is handled by: "vide" or "soun"."""
    for track in _inside(view, b"trak", start, end):
        for media in _inside(view, b"mdia", *track):
            for handler, _ in _inside(view, b"hdlr", *media):
                yield view.read(handler + 8, 4)


def _inside(view: FileView, wanted: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    for kind, content, box_end in _boxes(view, start, end):
        if kind == wanted:
            yield content, box_end
