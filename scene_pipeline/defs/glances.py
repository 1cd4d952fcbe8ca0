"""Pictures small enough that Dagster's UI shows them in place, and that an event can carry.

Belongs here: fitting a thumbnail into the 1000 characters of markdown that the UI renders within a
table of metadata (anything longer, it hides behind a click), and into what an event may weigh. Does
not belong here: the thumbnails themselves (`media`).

As WebP a landscape of the offline provider takes 570 bytes at 128 x 72 pixels and 3.6 kB at
320 x 180. Encoding is most of what showing a frame costs, about a millisecond a picture.
"""

import io
from functools import lru_cache

MAX_GLANCE_BYTES = 700
"""As base64 and with what surrounds it, below 1000 characters."""
MAX_LOOK_BYTES = 8 * 1024
_MAX_SOURCE_PIXELS = 1024
_GLANCE_ATTEMPTS = ((128, 20), (128, 5), (96, 5), (64, 5))
"""Widths in pixels and WebP qualities, the best first."""
_LOOK_ATTEMPTS = ((320, 50), (320, 25), (240, 25), (160, 10))
_METHOD = 1
"""How hard WebP tries: a third of method 3's time for a fifth more bytes."""
_FAR = 2.5
"""What takes so many times too much room will not fit at the next attempt either."""
_KEPT_PICTURES = 128
"""Each is shown by two stages of its scene, one shortly after the other."""


@lru_cache(_KEPT_PICTURES)
def glance(thumbnail: bytes) -> bytes | None:
    """Reduce a thumbnail to a WebP of at most 700 bytes.

    Args:
        thumbnail: One of our own small JPEGs.

    Returns:
        None where the thumbnail cannot be read or does not become small enough: the picture is a
        convenience, and no reason for a materialization to fail.
    """
    return _reduced(thumbnail, MAX_GLANCE_BYTES, _GLANCE_ATTEMPTS)


@lru_cache(_KEPT_PICTURES)
def look(thumbnail: bytes) -> bytes | None:
    """Reduce a thumbnail to a WebP of at most 8 KiB, to be looked at beside another one.

    Args:
        thumbnail: One of our own small JPEGs.

    Returns:
        None as `glance` does.
    """
    return _reduced(thumbnail, MAX_LOOK_BYTES, _LOOK_ATTEMPTS)


def _reduced(
    thumbnail: bytes, max_bytes: int, attempts: tuple[tuple[int, int], ...]
) -> bytes | None:
    from PIL import Image  # noqa: PLC0415  # only where frames are shown

    try:
        with Image.open(io.BytesIO(thumbnail), formats=["JPEG"]) as source:
            if max(source.size) > _MAX_SOURCE_PIXELS:
                return None
            picture = source.convert("RGB")
    except (OSError, ValueError):
        return None
    waiting = iter(attempts)
    for width, quality in waiting:
        reduced = picture.copy()
        reduced.thumbnail((width, width))
        encoded = io.BytesIO()
        reduced.save(encoded, "WEBP", quality=quality, method=_METHOD)
        if encoded.tell() <= max_bytes:
            return encoded.getvalue()
        if encoded.tell() > _FAR * max_bytes:
            next(waiting, None)
    return None
