"""GIF: a header, then blocks of sub-blocks, ended by a trailer; kept as it is, only measured."""

from scene_pipeline.media.containers.base import not_image, truncated

MAGIC = b"GIF8"
_VERSIONS = (b"GIF87a", b"GIF89a")
_HEADER_BYTES = 13
_EXTENSION, _PICTURE, _TRAILER = 0x21, 0x2C, 0x3B
_PICTURE_HEADER_BYTES = 10


def measure(data: bytes) -> tuple[int, int]:
    """Walk the blocks.

    Returns:
        Where the file ends, the trailer included, and how many pictures it holds.

    Raises:
        ImageError: not_image, truncated_image.
    """
    if not data.startswith(_VERSIONS) or len(data) < _HEADER_BYTES:
        raise not_image("the GIF header is missing")
    place = _HEADER_BYTES + _colour_bytes(data[10])
    count = 0
    while place < len(data):
        kind = data[place]
        if kind == _TRAILER:
            if not count:
                raise truncated("it holds no pixels")
            return place + 1, count
        if kind == _EXTENSION:
            place = _skip_sub_blocks(data, place + 2)
        elif kind == _PICTURE and place + _PICTURE_HEADER_BYTES < len(data):
            count += 1
            # the smallest code size, one byte, comes before the pixels
            colours = _colour_bytes(data[place + 9])
            place = _skip_sub_blocks(data, place + _PICTURE_HEADER_BYTES + colours + 1)
        else:
            raise truncated("a block does not begin where it should")
    raise truncated("its end is missing")


def _colour_bytes(flags: int) -> int:
    """Bytes of the table of colours that flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_sub_blocks(data: bytes, place: int) -> int:
    while place < len(data):
        length = data[place]
        place += 1 + length
        if length == 0:
            return place
    raise truncated("it ends within a block")
