"""RIFF: chunks of type, size and content, padded to even length; AVI, WAV and WebP are such."""

import struct
from collections.abc import Iterator

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHI")
# What a program writes that streams, and so does not know the size beforehand.
_UNKNOWN_SIZE = 0xFFFFFFFF
_MAX_CHANNELS = 64
_MAX_SAMPLE_RATE_HERTZ = 768_000


def read(view: FileView) -> str:
    """Tell AVI, WAV and WebP apart; check that the first two hold what they should.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    form = view.head[8:12]
    if form == b"WEBP":
        return "webp"  # decoded completely later
    if form == b"WAVE":
        return _read_wav(view)
    if form == b"AVI ":
        return _read_avi(view)
    raise refused("a RIFF file of an unknown form")


def _read_wav(view: FileView) -> str:
    has_format = False
    for kind, start, size in _chunks(view):
        if kind == b"fmt ":
            has_format = True
            _check_format(view.read(start, _FORMAT.size), size)
        if kind == b"data":
            if not has_format:
                raise truncated("its format is missing")
            if size != _UNKNOWN_SIZE and start + size > view.size:
                raise truncated("its end is missing")
            return "wav"
    raise truncated("its sound is missing")


def _check_format(data: bytes, size: int) -> None:
    if len(data) < _FORMAT.size or size < 16:
        raise truncated("its format is cut")
    codec, channels, rate = _FORMAT.unpack(data)
    is_sound = 1 <= channels <= _MAX_CHANNELS and 1 <= rate <= _MAX_SAMPLE_RATE_HERTZ
    if not (codec and is_sound):
        raise truncated("its format is impossible")


def _read_avi(view: FileView) -> str:
    (size,) = struct.unpack_from("<I", view.head, 4)
    if view.head[12:16] != b"LIST" or view.head[20:28] != b"hdrlavih":
        raise refused("no AVI, although it claims to be")
    if size == 0 or size + 8 > view.size:
        raise truncated("its end is missing")
    for kind, start, _ in _chunks(view):
        if kind == b"LIST" and view.read(start, 4) == b"movi":
            return "avi"
    raise truncated("its pictures are missing")


def _chunks(view: FileView) -> Iterator[tuple[bytes, int, int]]:
    """Give type, start of the content and declared size of each chunk that begins in the file."""
    start = 12
    while start + _CHUNK.size <= view.size:
        kind, size = _CHUNK.unpack(view.read(start, _CHUNK.size))
        yield kind, start + _CHUNK.size, size
        start += _CHUNK.size + size + size % 2
