"""WebM and MKV: EBML, nested elements of id, size and content, numbers of variable length."""

from collections.abc import Iterator

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_EBML, _DOCTYPE, _SEGMENT = 0x1A45DFA3, 0x4282, 0x18538067
_TRACKS, _TRACK, _TRACK_TYPE = 0x1654AE6B, 0xAE, 0x83
_VIDEO = b"\x01"
_MAX_EBML_HEADER_BYTES = 4096
_ELEMENT_HEADER_BYTES = 12
_EXTENSIONS = {b"webm": "webm", b"matroska": "mkv"}


def read(view: FileView) -> str:
    """Tell WebM from MKV, and check that the segment is whole and holds video.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    top = _elements(view, 0, view.size)
    kind, start, end = next(top, (0, 0, None))
    if kind != _EBML or end is None or end > _MAX_EBML_HEADER_BYTES:
        raise refused("no Matroska file, although it begins like one")
    doctype = _content_of(view, _DOCTYPE, start, end).rstrip(b"\0")
    extension = _EXTENSIONS.get(doctype)
    if extension is None:
        raise refused("an EBML file of an unknown type")
    for kind, start, end in top:
        if kind == _SEGMENT:
            return _with_video(view, extension, start, view.size if end is None else end)
    raise truncated("its media are missing")


def _with_video(view: FileView, extension: str, start: int, end: int) -> str:
    for kind, tracks_start, tracks_end in _elements(view, start, end):
        if kind != _TRACKS or tracks_end is None:
            continue
        for track, track_start, track_end in _elements(view, tracks_start, tracks_end):
            if track != _TRACK or track_end is None:
                continue
            if _content_of(view, _TRACK_TYPE, track_start, track_end) == _VIDEO:
                return extension
        break
    raise refused("a Matroska file without video")


def _content_of(view: FileView, wanted: int, start: int, end: int) -> bytes:
    """The first 64 bytes of the first such element; empty where there is none."""
    for kind, content, content_end in _elements(view, start, end):
        if kind == wanted and content_end is not None:
            return view.read(content, min(64, content_end - content))
    return b""


def _elements(view: FileView, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Give id, start and end of each element; the end of a live stream's is unknown: the last."""
    while start < end:
        header = view.read(start, _ELEMENT_HEADER_BYTES)
        id_length = _length_of_number(header, 0)
        size_length = _length_of_number(header, id_length)
        if id_length > 4:
            raise truncated("a block does not begin where it should")
        content = start + id_length + size_length
        kind = int.from_bytes(header[:id_length], "big")
        mask = (1 << 7 * size_length) - 1
        size = int.from_bytes(header[id_length : id_length + size_length], "big") & mask
        if size == mask:
            yield kind, content, None
            return
        if content + size > end:
            raise truncated("it ends within a block")
        yield kind, content, content + size
        start = content + size


def _length_of_number(header: bytes, place: int) -> int:
    """Bytes of the number at a place: the zero bits that it begins with, and one."""
    if place >= len(header) or header[place] == 0:
        raise truncated("a block does not begin where it should")
    length = 9 - header[place].bit_length()
    if place + length > len(header):
        raise truncated("it ends within a block")
    return length
