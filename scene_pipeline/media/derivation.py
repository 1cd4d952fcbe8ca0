"""Other forms of a picture that was accepted: small, and as WebP; runs in a sandboxed worker.

Equal pictures give equal bytes, so that a derivative made twice is one object.

Belongs here: one picture in, one picture out. Does not belong here: where it is kept (`pipeline`),
previews for inline display (`media.thumbnails`) and references (`media.reduction`).
"""

import io
from collections.abc import Mapping

from PIL import Image

from scene_pipeline.media.animations import kept_end
from scene_pipeline.media.containers import gif
from scene_pipeline.media.containers.base import truncated
from scene_pipeline.media.formats import sniff, strip
from scene_pipeline.media.images import Derived, DerivedForm
from scene_pipeline.media.inspection import open_image
from scene_pipeline.media.metadata import MAX_BLOCK_BYTES, embed_metadata, own_facts
from scene_pipeline.media.thumbnails import (
    THUMBNAIL_SIDE_PIXELS,
    encode_within,
    fit,
    reduce_to_rgb,
    to_eight_bits,
)

MAX_THUMBNAIL_BYTES = 24 * 1024
# Of XMP and of EXIF each, in a thumbnail: a long prompt must not take the picture's place.
_MAX_THUMBNAIL_BLOCK_BYTES = 3 * 1024
_BLOCK_HEADERS_BYTES = 64
_WEBP_QUALITY = 82
# What the format can hold; our pictures may have one pixel more.
_MAX_WEBP_SIDE_PIXELS = 16_383
CONTENT_TYPE = "image/webp"


def derive_image(
    data: bytes, form: DerivedForm, max_pixels: int, *, embed: bool = False
) -> Derived:
    """Make another form of a picture; of the first frame where there are several.

    Args:
        data: A picture that was accepted before.
        form: `thumbnail`: WebP of at most 320 pixels on its longer side and 24 KiB. `webp`: WebP of
            full size, the very bytes where the picture is a still of that format.
        max_pixels: Above which nothing is decoded.
        embed: Whether our metadata block, where the picture has one, is in the other form too.

    Raises:
        ImageError: It is not a picture that can be decoded.
    """
    image_format = "GIF" if data.startswith(gif.MAGIC) else sniff(data)
    image = open_image(data, image_format, max_pixels)
    if form == "webp" and image_format == "WEBP" and kept_end(data, image_format) is None:
        return Derived(data, CONTENT_TYPE, image.width, image.height)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise all kinds
        raise truncated("its pixels cannot be decoded") from error
    facts = own_facts(data) if embed and image_format != "GIF" else {}
    return _thumbnail(image, facts) if form == "thumbnail" else _as_webp(image, facts)


def _thumbnail(image: Image.Image, facts: Mapping[str, str]) -> Derived:
    small = reduce_to_rgb(image, THUMBNAIL_SIDE_PIXELS)
    reserved = 2 * _MAX_THUMBNAIL_BLOCK_BYTES + _BLOCK_HEADERS_BYTES if facts else 0
    encoded = encode_within(small, MAX_THUMBNAIL_BYTES - reserved, "WEBP")
    with Image.open(io.BytesIO(encoded), formats=("WEBP",)) as made:
        width, height = made.size
    if facts:
        encoded = _with_facts(encoded, facts, max_block_bytes=_MAX_THUMBNAIL_BLOCK_BYTES)
    return Derived(encoded, CONTENT_TYPE, width, height)


def _as_webp(image: Image.Image, facts: Mapping[str, str]) -> Derived:
    # the profile of printing colours means nothing once they are on a screen
    profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
    picture = to_eight_bits(image)
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    picture = fit(picture.convert(mode), _MAX_WEBP_SIDE_PIXELS)
    target = io.BytesIO()
    picture.save(
        target, "WEBP", quality=_WEBP_QUALITY, method=4, icc_profile=profile or b"", exif=b""
    )
    encoded = _with_facts(target.getvalue(), facts) if facts else target.getvalue()
    return Derived(encoded, CONTENT_TYPE, picture.width, picture.height)


def _with_facts(
    encoded: bytes, facts: Mapping[str, str], *, max_block_bytes: int = MAX_BLOCK_BYTES
) -> bytes:
    clean = strip(encoded, "WEBP").data
    return embed_metadata(clean, "WEBP", facts, max_block_bytes=max_block_bytes)
