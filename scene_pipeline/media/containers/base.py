"""What every container module gives, and the errors that they share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from scene_pipeline.errors import ImageError


@dataclass(frozen=True, slots=True)
class Stripped:
    """A picture file reduced to what its pixels and colours need."""

    data: bytes
    """The file; the very object that was given where there was nothing to take away."""
    has_trailing_bytes: bool = False
    """Whether bytes followed the structural end; they are cut."""
    has_foreign_metadata: bool = False
    """Whether EXIF, XMP, comments, text or unknown blocks were taken away."""
    exif: bytes | None = None
    """The EXIF block that was taken away, from its TIFF header on: it may hold the orientation."""


COMMENT: Final = "Comment"
"""The one text that is looked for: PNG's of that keyword, JPEG's comment."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """What stands beside the pixels of a file. Each container takes what it has a place for."""

    xmp: bytes | None = None
    exif: bytes | None = None
    """From its TIFF header on."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By keyword, put into PNG; of those in a file `COMMENT` alone is found."""


class Container(Protocol):
    """The face of each module here."""

    def strip(self, data: bytes, /) -> Stripped:
        """Reduce a file to its pixels and colours; check that it ends where it should."""
        ...

    def insert_blocks(self, data: bytes, blocks: Blocks, /) -> bytes:
        """Put blocks into a stripped file, always in the same order."""
        ...

    def find_blocks(self, data: bytes, /) -> Blocks:
        """The first of each kind of block in a file; nothing compressed is unpacked."""
        ...


def reassemble(data: bytes, end: int, kept: Iterable[memoryview], *, is_changed: bool) -> bytes:
    """Give the file up to `end`, made of the kept parts only where any was taken away."""
    if is_changed:
        return b"".join(kept)
    return data if end == len(data) else data[:end]


def not_image(reason: str) -> ImageError:
    """The error for bytes that only look like a picture at their beginning."""
    return ImageError(f"The bytes are no picture: {reason}.", code="not_image")


def truncated(reason: str) -> ImageError:
    """The error for a picture that is cut or damaged; a second download may bring it whole."""
    return ImageError(
        f"The picture is incomplete or damaged: {reason}.", code="truncated_image", retryable=True
    )


def animated() -> ImageError:
    """The error for pictures with more than one frame."""
    return ImageError("The picture is animated; only stills are accepted.", code="animated")
