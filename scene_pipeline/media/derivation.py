"""Other forms of a picture that was accepted: small, and as WebP; runs in a sandboxed worker.

Equal pictures give equal bytes, so that a derivative made twice is one object.

Belongs here: one picture in, one picture out. Does not belong here: where it is kept (`pipeline`),
previews for inline display (`media.thumbnails`) and references (`media.reduction`).
"""

import io

from PIL import Image

from scene_pipeline.media.animations import kept_end
from scene_pipeline.media.containers import gif
from scene_pipeline.media.containers.base import truncated
from scene_pipeline.media.formats import sniff
from scene_pipeline.media.images import Derived, DerivedForm
from scene_pipeline.media.inspection import open_image
from scene_pipeline.media.thumbnails import (
    THUMBNAIL_SIDE_PIXELS,
    encode_within,
    fit,
    reduce_to_rgb,
    to_eight_bits,
)

MAX_THUMBNAIL_BYTES = 24 * 1024
_WEBP_QUALITY = 82
# What the format can hold; our pictures may have one pixel more.
_MAX_WEBP_SIDE_PIXELS = 16_383
CONTENT_TYPE = "image/webp"


def derive_image(data: bytes, form: DerivedForm, max_pixels: int) -> Derived:
    """Make another form of a picture; of the first frame where there are several.

    Args:
        data: A picture that was accepted before.
        form: `thumbnail`: WebP of at most 320 pixels on its longer side and 24 KiB. `webp`: WebP of
            full size, the very bytes where the picture is a still of that format.
        max_pixels: Above which nothing is decoded.

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
    if form == "thumbnail":
        small = reduce_to_rgb(image, THUMBNAIL_SIDE_PIXELS)
        encoded = encode_within(small, MAX_THUMBNAIL_BYTES, "WEBP")
        with Image.open(io.BytesIO(encoded), formats=("WEBP",)) as made:
            return Derived(encoded, CONTENT_TYPE, made.width, made.height)
    return _as_webp(image)


def _as_webp(image: Image.Image) -> Derived:
    # the profile of printing colours means nothing once they are on a screen
    profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
    picture = to_eight_bits(image)
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    picture = fit(picture.convert(mode), _MAX_WEBP_SIDE_PIXELS)
    target = io.BytesIO()
    picture.save(
        target, "WEBP", quality=_WEBP_QUALITY, method=4, icc_profile=profile or b"", exif=b""
    )
    return Derived(target.getvalue(), CONTENT_TYPE, picture.width, picture.height)
