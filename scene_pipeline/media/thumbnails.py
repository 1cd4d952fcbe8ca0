"""Small pictures of pictures: for inline display and for judging whether anything is on them.

Belongs here: reducing decoded pixels. Does not belong here: decoding untrusted bytes
(`media.inspection`).
"""

import io
from typing import Literal

from PIL import Image, ImageStat

MAX_THUMBNAIL_BYTES = 12 * 1024
THUMBNAIL_SIDE_PIXELS = 320
_SMALLEST_SIDE_PIXELS = 40
_QUALITIES = (82, 70, 55, 40, 25)
# Shown behind transparent pixels, which JPEG cannot hold.
_BACKDROP = (128, 128, 128, 255)
# Levels of 256 by which the pixels of a "single-colour" picture may differ: compression noise.
_SINGLE_COLOUR_RANGE = 8
_PALETTED_MODES = frozenset({"1", "P", "PA"})


def reduce_to_rgb(image: Image.Image, side: int = THUMBNAIL_SIDE_PIXELS) -> Image.Image:
    """Give a decoded picture as opaque RGB of at most `side` pixels on its longer side."""
    image = to_eight_bits(image)
    # reduced before anything else, so that a picture of 50 megapixels is not held twice
    reduced = fit(image, side)
    if reduced.has_transparency_data:
        layered = reduced.convert("RGBA")
        reduced = Image.alpha_composite(Image.new("RGBA", layered.size, _BACKDROP), layered)
    return reduced.convert("RGB")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Give a decoded picture with levels of 8 bits per channel, and without a palette."""
    if image.mode.startswith(("I", "F")):
        # 16-bit grey; Pillow would clip it to 8 bits instead of scaling it
        return image.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    if image.mode in _PALETTED_MODES:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def encode_within(
    picture: Image.Image, max_bytes: int, image_format: Literal["JPEG", "WEBP"] = "JPEG"
) -> bytes:
    """Encode an RGB picture, reducing quality and then size until it fits.

    Returns:
        At most `max_bytes` bytes, unless 40 pixels at the lowest quality take more.
    """
    side = max(picture.size)
    while True:
        small = fit(picture, side)
        for quality in _QUALITIES:
            target = io.BytesIO()
            small.save(target, image_format, quality=quality)
            if target.tell() <= max_bytes:
                return target.getvalue()
        if side <= _SMALLEST_SIDE_PIXELS:
            return target.getvalue()
        side = max(side * 3 // 4, _SMALLEST_SIDE_PIXELS)


def is_single_colour(picture: Image.Image) -> bool:
    """Whether an RGB thumbnail shows nothing: all its pixels are, but for noise, of one colour."""
    return all(high - low <= _SINGLE_COLOUR_RANGE for low, high in ImageStat.Stat(picture).extrema)


def fit(image: Image.Image, side: int) -> Image.Image:
    """Give the picture with its longer side at most `side` pixels, never enlarged."""
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
