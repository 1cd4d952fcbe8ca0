"""Animated pictures and GIFs: kept as they are, but looked at frame by frame.

Belongs here: where such a file ends and whether every frame decodes. Does not belong here: stills
that are cleaned (`media.inspection`).
"""

import warnings
from dataclasses import dataclass

from PIL import Image

from scene_pipeline.errors import ImageError
from scene_pipeline.media.containers import gif, png, webp
from scene_pipeline.media.containers.base import truncated
from scene_pipeline.media.inspection import open_image
from scene_pipeline.media.thumbnails import MAX_THUMBNAIL_BYTES, encode_within, reduce_to_rgb

MAX_FRAMES = 2000
MAX_TOTAL_PIXELS = 1_000_000_000
"""Of all frames together; some eight seconds of decoding."""


@dataclass(frozen=True, slots=True)
class Moving:
    """What was found in a picture that is kept as it is."""

    data: bytes
    """The file up to its end: the very object that was given where nothing follows that."""
    width: int
    """Pixels."""
    height: int
    is_animated: bool
    thumbnail: bytes
    """JPEG, of the first frame."""


def kept_end(data: bytes, image_format: str) -> int | None:
    """Where a picture ends that is kept as it is; None for a still that is cleaned.

    Raises:
        ImageError: not_image, truncated_image.
    """
    if image_format == "GIF":
        return gif.measure(data)[0]
    if image_format == "PNG":
        return png.animation_end(data)
    return webp.animation_end(data) if image_format == "WEBP" else None


def inspect_moving(data: bytes, end: int, image_format: str, max_pixels: int) -> Moving:
    """Decode every frame of a picture that is kept as it is.

    Args:
        data: The file.
        end: As `kept_end` gives it.
        image_format: By Pillow's name.
        max_pixels: Of one frame.

    Raises:
        ImageError: not_image, truncated_image, bomb, bad_dimensions.
    """
    kept = data if end == len(data) else data[:end]
    image = open_image(kept, image_format, max_pixels)
    width, height = image.size
    try:
        with warnings.catch_warnings():
            # a frame may make the picture larger than its header said
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            count, thumbnail = _decode_frames(image)
    except (MemoryError, ImageError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_much() from error
    except Exception as error:  # Pillow's plugins raise all kinds
        raise truncated("a frame cannot be decoded") from error
    return Moving(kept, width, height, count > 1, thumbnail)


def _decode_frames(image: Image.Image) -> tuple[int, bytes]:
    """Give the number of frames, and a thumbnail of the first one."""
    count = int(getattr(image, "n_frames", 1))
    if count > MAX_FRAMES or count * image.width * image.height > MAX_TOTAL_PIXELS:
        raise _too_much()
    image.load()
    thumbnail = encode_within(reduce_to_rgb(image), MAX_THUMBNAIL_BYTES)
    pixels = image.width * image.height
    for number in range(1, count):
        image.seek(number)
        pixels += image.width * image.height
        if pixels > MAX_TOTAL_PIXELS:
            raise _too_much()
        image.load()
    return count, thumbnail


def _too_much() -> ImageError:
    return ImageError(
        f"The picture has more than {MAX_FRAMES} frames or {MAX_TOTAL_PIXELS / 1e6:g} megapixels "
        "in all and was not decoded.",
        code="bomb",
    )
