"""Deciding whether bytes are a picture that we accept; runs in a sandboxed worker.

Mode of operation: the container is walked first (where it ends, what it carries), so that the
decoder only ever sees pixels and colours; sizes are judged before a pixel is decoded; then
everything is decoded, since a JPEG cut to 5 % passes every lesser test.

Belongs here: one picture in, one verdict out. Does not belong here: processes (`media.workers`).
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from scene_pipeline.errors import ImageError
from scene_pipeline.media.containers.base import animated, not_image, truncated
from scene_pipeline.media.formats import ImageFormat, sniff, strip
from scene_pipeline.media.metadata import CURRENT_EDITION, embed_metadata
from scene_pipeline.media.thumbnails import (
    MAX_THUMBNAIL_BYTES,
    encode_within,
    is_single_colour,
    reduce_to_rgb,
)
from scene_pipeline.media.xmp_packet import Edition

MIN_SIDE_PIXELS = 16
MAX_SIDE_PIXELS = 16_384
_ORIENTATION_TAG = 0x0112
# What each EXIF orientation needs to stand upright; 1 is upright already.
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAVE_OPTIONS: dict[ImageFormat, dict[str, object]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 2},
}


@dataclass(frozen=True, slots=True)
class InspectionOrder:
    """What to check a picture against and what to write into it."""

    expected_width: int | None = None
    expected_height: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    embed: bool = False
    max_pixels: int = 50_000_000
    edition: Edition = CURRENT_EDITION
    """How the metadata are laid out."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A picture that is accepted, as it is to be stored."""

    data: bytes
    image_format: ImageFormat
    width: int
    height: int
    is_reencoded: bool
    is_blank: bool
    thumbnail: bytes
    notes: tuple[str, ...]


def inspect_image(data: bytes, order: InspectionOrder) -> Inspection:
    """Check, clean and describe one picture.

    Raises:
        ImageError: not_image, not_allowed, truncated_image, bomb, bad_dimensions, animated.
    """
    image_format = sniff(data)
    stripped = strip(data, image_format)
    notes = []
    if stripped.has_trailing_bytes:
        notes.append("trailing_bytes_cut")
    if stripped.has_foreign_metadata:
        notes.append("metadata_stripped")

    image = decode_image(stripped.data, image_format, order.max_pixels)
    clean = stripped.data
    transposition = _TRANSPOSITIONS.get(_orientation(stripped.exif))
    if transposition is not None:
        image = image.transpose(transposition)
        clean = _encode(image, image_format)
        notes.append("orientation_applied")
    width, height = image.size
    expected = (order.expected_width or width, order.expected_height or height)
    if expected != (width, height):
        notes.append("size_differs")

    if order.embed:
        clean = embed_metadata(clean, image_format, order.metadata, edition=order.edition)
    small = reduce_to_rgb(image)
    return Inspection(
        data=clean,
        image_format=image_format,
        width=width,
        height=height,
        is_reencoded=transposition is not None,
        is_blank=is_single_colour(small),
        thumbnail=encode_within(small, MAX_THUMBNAIL_BYTES),
        notes=tuple(notes),
    )


def decode_image(data: bytes, image_format: ImageFormat, max_pixels: int) -> Image.Image:
    """Decode every pixel, having judged the declared size first.

    Raises:
        ImageError: As `inspect_image`.
    """
    image = open_image(data, image_format, max_pixels)
    try:
        is_still = getattr(image, "n_frames", 1) == 1
        if is_still:
            image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise all kinds
        raise truncated("its pixels cannot be decoded") from error
    if not is_still:
        raise animated()
    return image


def open_image(data: bytes, image_format: str, max_pixels: int) -> Image.Image:
    """Read the header and judge the declared size; nothing is decoded yet.

    Args:
        data: The file.
        image_format: By Pillow's name; nothing else is tried.
        max_pixels: Above which it is refused.

    Raises:
        ImageError: not_image, not_allowed, bomb, bad_dimensions.
    """
    image = _open(data, image_format, max_pixels)
    # Pillow opens an MPO file, several JPEGs in one, when asked for JPEG only
    if image.format != image_format:
        raise ImageError(f"The picture is {image.format}, not {image_format}.", code="not_allowed")
    width, height = image.size
    if width * height > max_pixels:
        raise _bomb(max_pixels)
    if not all(MIN_SIDE_PIXELS <= side <= MAX_SIDE_PIXELS for side in image.size):
        raise ImageError(
            f"The picture has {width} x {height} pixels; each side must have "
            f"{MIN_SIDE_PIXELS} to {MAX_SIDE_PIXELS}.",
            code="bad_dimensions",
        )
    return image


def _open(data: bytes, image_format: str, max_pixels: int) -> Image.Image:
    """Read the header only."""
    # Pillow refuses twice this by itself while opening and warns above it: both are refusals here
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=(image_format,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(max_pixels) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise all kinds
        raise not_image(f"its {image_format} header cannot be read") from error


def _bomb(max_pixels: int) -> ImageError:
    return ImageError(
        f"The picture claims more than {max_pixels / 1e6:g} megapixels and was not decoded.",
        code="bomb",
    )


def _orientation(exif: bytes | None) -> int:
    """The orientation that a camera noted; 1 (upright) where there is none or it is unreadable."""
    if not exif:
        return 1
    try:
        tags = Image.Exif()
        tags.load(exif)
        return int(tags.get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  # broken EXIF is dropped anyway: it turns nothing
        return 1


def _encode(image: Image.Image, image_format: ImageFormat) -> bytes:
    """Encode a turned picture anew, with its colour profile and nothing else."""
    target = io.BytesIO()
    options = _SAVE_OPTIONS[image_format]
    image.save(target, image_format, icc_profile=image.info.get("icc_profile"), **options)
    return strip(target.getvalue(), image_format).data
