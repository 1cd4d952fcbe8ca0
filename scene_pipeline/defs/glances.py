"""Pictures small enough that Dagster's UI shows them in place.

Belongs here: fitting a thumbnail into the 1000 characters of markdown that the UI renders within a
table of metadata; anything longer, it hides behind a click. Does not belong here: the thumbnails
themselves (`media`).

At 128 x 72 pixels a typical film frame takes 300 to 550 characters as WebP, a picture of pure noise
about 700.
"""

import io

_MAX_BYTES = 700
"""As base64 and with what surrounds it, below 1000 characters."""
_MAX_SOURCE_PIXELS = 1024
_ATTEMPTS = ((144, 30), (128, 20), (128, 5), (96, 5), (64, 5))
"""Widths in pixels and WebP qualities, the best first."""


def glance(thumbnail: bytes) -> bytes | None:
    """Reduce a thumbnail to a WebP of at most 700 bytes.

    Args:
        thumbnail: One of our own small JPEGs.

    Returns:
        None where the thumbnail cannot be read or does not become small enough: the picture is a
        convenience, and no reason for a materialization to fail.
    """
    from PIL import Image  # noqa: PLC0415  # only where frames are shown

    try:
        with Image.open(io.BytesIO(thumbnail), formats=["JPEG"]) as source:
            if max(source.size) > _MAX_SOURCE_PIXELS:
                return None
            picture = source.convert("RGB")
    except (OSError, ValueError):
        return None
    for width, quality in _ATTEMPTS:
        reduced = picture.copy()
        reduced.thumbnail((width, width))
        encoded = io.BytesIO()
        reduced.save(encoded, "WEBP", quality=quality, method=6)
        if encoded.tell() <= _MAX_BYTES:
            return encoded.getvalue()
    return None
