"""What the workers take and give, as plain values.

Belongs here: limits and results. Does not belong here: how they come about (`media.workers`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scene_pipeline.scenes.identity import MediaType

DerivedForm = Literal["thumbnail", "webp"]
"""Other forms of a picture: small, for galleries; full size, for pages."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Bounds of each worker and each job."""

    memory_bytes: int = 1536 * 2**20
    """Address space of a worker. 50 megapixels take 200 MB decoded, turned ones twice that."""
    cpu_seconds: int = 20
    """Processor time of one job."""
    wall_seconds: float = 30.0
    """Time from handing a job over to its answer."""
    queue_seconds: float = 300.0
    """Longest wait for an idle worker."""
    jobs_per_worker: int = 200
    """Jobs after which a worker is replaced, so that nothing it leaks adds up."""
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """A picture that is accepted, as it is to be stored."""

    data: bytes = field(repr=False)
    """The clean file, with our metadata block where that was asked for."""
    content_type: str
    """By the bytes, whatever was declared: image/png, image/jpeg or image/webp."""
    extension: str
    """png, jpg or webp."""
    width: int
    """Pixels, as shown: after the orientation was applied."""
    height: int
    sha256: str
    """Of `data`, lower-case hex."""
    is_reencoded: bool
    """Whether the pixels are not the original's: only where the picture had to be turned."""
    is_blank: bool
    """Whether it shows a single colour."""
    thumbnail: bytes = field(repr=False)
    """JPEG of at most 12 KiB, 320 pixels on its longer side."""
    notes: tuple[str, ...] = ()
    """What was found and done: trailing_bytes_cut, metadata_stripped, orientation_applied,
    size_differs."""


@dataclass(frozen=True, slots=True)
class InspectedFile:
    """A file that the library takes, as it is to be stored."""

    data: bytes | None = field(repr=False)
    """The cleaned picture; None where the file is to be stored just as it is."""
    media: MediaType
    mime_type: str
    """By the bytes, whatever name or server said."""
    extension: str
    """Of a name for it, without a dot: "jpg"."""
    size_bytes: int
    """Of what is to be stored, as the next."""
    sha256: str
    """Lower-case hex."""
    width: int | None = None
    """Pixels, of pictures other than SVG; as shown, after the orientation was applied."""
    height: int | None = None
    is_animated: bool = False
    """Whether it is a picture of several frames: kept as it is, never a frame or a reference."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """JPEG of at most 12 KiB, 320 pixels on its longer side, of pictures other than SVG; of the
    first frame."""
    model: str | None = None
    """Who made it, as our own metadata block in the picture says; nobody vouches for it."""
    seed: int | None = None
    """Likewise."""
    generation_id: str | None = None
    """Likewise."""
    notes: tuple[str, ...] = ()
    """What was found and done: trailing_bytes_cut, metadata_stripped, orientation_applied."""


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """What a picture is, and what it says of itself."""

    image_format: str
    """PNG, JPEG or WEBP."""
    width: int
    """Pixels, as shown."""
    height: int
    sha256: str
    """Of the file as it was given, lower-case hex."""
    facts: Mapping[str, str]
    """Of our own metadata block, at most 64; nobody vouches for them. Empty where it has none."""


@dataclass(frozen=True, slots=True)
class Derived:
    """Another form of a stored picture."""

    data: bytes = field(repr=False)
    content_type: str
    width: int
    """Pixels."""
    height: int


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """A drawn overview of a project's frames."""

    png: bytes = field(repr=False)
    preview: bytes = field(repr=False)
    """JPEG of at most 40,000 bytes, for inline display."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the PNG's header says."""
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")
