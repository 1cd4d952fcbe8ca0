"""MP3 and AAC (ADTS): frames one after the other, without any header of the file's own.

Two bytes of a frame's beginning occur in any file, so several frames that follow each other and
agree are what counts.
"""

from collections.abc import Callable

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_FRAMES_WANTED = 4
_MAX_ID3_TAGS = 4
_MAX_PADDING_BYTES = 64 * 1024
_HEADER_BYTES = 7
# Kilobits per second of layer III by the index in a header, for MPEG 1 and for MPEG 2 and 2.5.
_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# Hertz, by the two bits of the version and the index in a header.
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_ADTS_SAMPLE_RATES = 13

Frame = tuple[tuple[int, ...], int]
"""What all frames of a file have in common, and the frame's length in bytes."""


def begins_like_frame(data: bytes) -> bool:
    """Whether the first bytes may be those of a frame."""
    return _mp3_frame(data) is not None or _adts_frame(data) is not None


def read(view: FileView) -> str:
    """Tell MP3 from AAC by frames that follow each other.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    start = _skip_tags(view)
    first = view.read(start, _HEADER_BYTES)
    readers: dict[str, Callable[[bytes], Frame | None]] = {"mp3": _mp3_frame, "aac": _adts_frame}
    for extension, frame_of in readers.items():
        if frame_of(first) is not None:
            _follow_frames(view, start, frame_of)
            return extension
    if start >= view.size:
        raise truncated("its sound is missing")
    raise refused("tagged audio other than MP3 and AAC")


def _skip_tags(view: FileView) -> int:
    """Where the first frame should be: behind ID3 tags and their padding."""
    start = 0
    for _ in range(_MAX_ID3_TAGS):
        header = view.read(start, 10)
        if not header.startswith(b"ID3"):
            break
        if len(header) < 10 or any(byte & 0x80 for byte in header[6:]):
            raise truncated("its tag is damaged")
        size = 0
        for byte in header[6:]:
            size = size << 7 | byte
        start += 10 + size + (10 if header[5] & 0x10 else 0)
        if start > view.size:
            raise truncated("it ends within its tag")
    if start == 0:
        return 0
    padding = view.read(start, _MAX_PADDING_BYTES)
    return start + len(padding) - len(padding.lstrip(b"\0"))


def _follow_frames(view: FileView, start: int, frame_of: Callable[[bytes], Frame | None]) -> None:
    common: tuple[int, ...] | None = None
    for count in range(_FRAMES_WANTED):
        frame = frame_of(view.read(start, _HEADER_BYTES))
        if count > 1 and start == view.size:
            return
        if frame is None or common not in {None, frame[0]}:
            raise truncated("its frames do not follow each other")
        common = frame[0]
        start += frame[1]
        if start > view.size:
            raise truncated("it ends within a frame")


def _mp3_frame(header: bytes) -> Frame | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None  # 0xE6: the rest of the sync, and the layer, of which III is 01
    version = header[1] >> 3 & 3
    bitrate_index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    rates = _SAMPLE_RATES.get(version)
    if rates is None or rate_index == 3 or not 0 < bitrate_index < 15:
        return None
    rate = rates[rate_index]
    is_mpeg_1 = version == 3
    bitrate = _BITRATES[1 if is_mpeg_1 else 2][bitrate_index] * 1000
    length = (144 if is_mpeg_1 else 72) * bitrate // rate + (header[2] >> 1 & 1)
    return (version, rate), length


def _adts_frame(header: bytes) -> Frame | None:
    if len(header) < _HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    rate_index = header[2] >> 2 & 0xF
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if rate_index >= _ADTS_SAMPLE_RATES or length <= _HEADER_BYTES:
        return None
    return (header[1], header[2], header[3] >> 6), length
