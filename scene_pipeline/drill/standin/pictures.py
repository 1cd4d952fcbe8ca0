"""Pictures that the Fal stand-in hands out: real, cheap, different for every request."""

import hashlib
import io
from functools import lru_cache

from PIL import Image, ImageDraw, ImageOps


@lru_cache(maxsize=64)
def draw_picture(prompt: str, seed: int, size: tuple[int, int], media_type: str) -> bytes:
    """A gradient with some discs, the same bytes for the same arguments."""
    digest = hashlib.sha256(f"{seed}\0{prompt}".encode()).digest()
    shade = Image.linear_gradient("L").resize(size)
    picture = ImageOps.colorize(shade, tuple(digest[:3]), tuple(digest[3:6]))
    draw = ImageDraw.Draw(picture)
    for index in range(5):
        x, y = (digest[6 + index] / 255 * size[0], digest[11 + index] / 255 * size[1])
        radius = min(size) * (0.05 + digest[16 + index] / 255 * 0.15)
        fill = tuple(digest[21 + index : 24 + index])
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    return _encoded(picture, media_type)


def draw_black(size: tuple[int, int], media_type: str) -> bytes:
    """What a model gives back when its own filter has struck."""
    return _encoded(Image.new("RGB", size), media_type)


def _encoded(picture: Image.Image, media_type: str) -> bytes:
    stream = io.BytesIO()
    if media_type == "image/png":
        picture.save(stream, "PNG", compress_level=1)
    else:
        picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()
