"""Sizes of frames: presets, texts and objects in, width and height out.

Belongs here: what sizes exist and which are allowed. Does not belong here: what a provider makes of
them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scene_pipeline.errors import UsageError

MIN_SIDE = 16
"""Pixels; the same bounds hold for pictures that come back (`media`)."""
MAX_SIDE = 16_384
"""Pixels."""
MAX_PIXELS = 50_000_000


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


PRESETS: Mapping[str, ImageSize] = MappingProxyType(
    {
        "square_hd": ImageSize(1024, 1024),
        "square": ImageSize(512, 512),
        "portrait_4_3": ImageSize(768, 1024),
        "portrait_16_9": ImageSize(576, 1024),
        "landscape_4_3": ImageSize(1024, 768),
        "landscape_16_9": ImageSize(1024, 576),
    }
)
"""Names as Fal's models know them, resolved here so that every provider makes the same size."""

_WIDTH_BY_HEIGHT = re.compile(r"\s*([0-9]{1,6})\s*[xX\u00d7]\s*([0-9]{1,6})\s*")
_HOW_TO_SAY_IT = (
    f"Use one of {', '.join(PRESETS)}, a text like 1024x576, or width and height in pixels."
)


def parse_size(value: str | Mapping[str, Any]) -> ImageSize:
    """Read a size as documents, settings and commands spell it.

    Args:
        value: A preset's name, a text like "1024x576", or an object with `width` and `height`.

    Raises:
        UsageError: code "image_size_invalid"; not a size, or outside 16 to 16384 pixels a side or
            50 megapixels in all.
    """
    size = _parse_text(value) if isinstance(value, str) else _parse_object(value)
    if size is None:
        shown = value if isinstance(value, str) else json.dumps(dict(value), default=str)
        raise _invalid(f"{shown[:80]!r} is not an image size.")
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in (size.width, size.height)):
        raise _invalid(
            f"The image size {size} is out of bounds: each side must be {MIN_SIDE} to {MAX_SIDE}"
            " pixels."
        )
    if size.width * size.height > MAX_PIXELS:
        raise _invalid(f"The image size {size} is more than {MAX_PIXELS // 1_000_000} megapixels.")
    return size


def _parse_text(text: str) -> ImageSize | None:
    preset = PRESETS.get(text.strip().lower())
    if preset is not None:
        return preset
    match = _WIDTH_BY_HEIGHT.fullmatch(text)
    return ImageSize(int(match[1]), int(match[2])) if match else None


def _parse_object(value: Mapping[str, Any]) -> ImageSize | None:
    width, height = (_whole_number(value.get(side)) for side in ("width", "height"))
    return None if width is None or height is None else ImageSize(width, height)


def _whole_number(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _invalid(message: str) -> UsageError:
    return UsageError(message, code="image_size_invalid", next_action=_HOW_TO_SAY_IT)
