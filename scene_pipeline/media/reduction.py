"""A large picture as a smaller file that shows the same; runs in a sandboxed worker.

Belongs here: one picture in, one JPEG out. Does not belong here: thumbnails (`media.thumbnails`).
"""

from scene_pipeline.media.formats import sniff, strip
from scene_pipeline.media.inspection import decode_image
from scene_pipeline.media.thumbnails import encode_within, reduce_to_rgb

MAX_SIDE_PIXELS = 2048
"""More than image models look at in a reference picture."""


def reduce_image(data: bytes, max_bytes: int, max_pixels: int) -> bytes:
    """Make a picture fit: JPEG, at most 2048 pixels on its longer side; equal input, equal bytes.

    Args:
        data: A picture that was accepted before.
        max_bytes: Of the result.
        max_pixels: Above which nothing is decoded.

    Raises:
        ImageError: It is not a picture that we accept.
    """
    image_format = sniff(data)
    image = decode_image(strip(data, image_format).data, image_format, max_pixels)
    return encode_within(reduce_to_rgb(image, MAX_SIDE_PIXELS), max_bytes)
