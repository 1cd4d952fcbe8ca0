"""The picture formats that are accepted, and how bytes are recognised as one of them.

Belongs here: the closed list, names and magic bytes. Does not belong here: anything that decodes.
"""

from typing import Literal, get_args

from scene_pipeline.errors import ImageError
from scene_pipeline.media.containers import jpeg, png, webp
from scene_pipeline.media.containers.base import Container, Stripped, not_image
from scene_pipeline.media.refused_types import refused_name

ImageFormat = Literal["PNG", "JPEG", "WEBP"]
"""Accepted formats, by Pillow's names."""

IMAGE_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)
CONTENT_TYPES: dict[ImageFormat, str] = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
}
EXTENSIONS: dict[ImageFormat, str] = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
CONTAINERS: dict[ImageFormat, Container] = {"PNG": png, "JPEG": jpeg, "WEBP": webp}


def sniff(data: bytes) -> ImageFormat:
    """Recognise a format by its magic bytes; what a server declared plays no part.

    Raises:
        ImageError: `not_allowed` for formats that are known and refused, else `not_image`.
    """
    if data.startswith(png.SIGNATURE):
        return "PNG"
    if data.startswith(jpeg.MAGIC):
        return "JPEG"
    if webp.is_webp(data):
        return "WEBP"
    refused = refused_name(data)
    if refused is None and data[4:8] == b"ftyp":
        refused = "AVIF, HEIC or video"
    if refused is not None:
        raise ImageError(
            f"The file is {refused}; only PNG, JPEG and WebP are accepted.", code="not_allowed"
        )
    raise not_image("they are neither PNG, JPEG nor WebP" if data else "there are none")


def strip(data: bytes, image_format: ImageFormat) -> Stripped:
    """Reduce a file to its pixels and colours, and check that it ends where it should.

    Raises:
        ImageError: not_image, truncated_image, animated, not_allowed.
    """
    return CONTAINERS[image_format].strip(data)
