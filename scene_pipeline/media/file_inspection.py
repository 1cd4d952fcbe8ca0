"""Deciding whether a file is one that the library takes; runs in a sandboxed worker.

Mode of operation: the file is recognised first; stills are then decoded and cleaned like generated
frames, animated pictures are decoded and kept, SVG is parsed and kept, everything else stays as the
recognition has seen it.

Belongs here: one file in, one verdict out. Does not belong here: processes (`media.workers`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from scene_pipeline.errors import FileRefusedError, ImageError
from scene_pipeline.media.animations import inspect_moving, kept_end
from scene_pipeline.media.containers import svg
from scene_pipeline.media.file_kinds.base import FileView, refused
from scene_pipeline.media.file_types import FILE_TYPES
from scene_pipeline.media.inspection import InspectionOrder, inspect_image
from scene_pipeline.media.metadata import metadata_edition, own_facts
from scene_pipeline.media.recognition import Recognised, open_file, recognise_view
from scene_pipeline.scenes.identity import MediaType

_PILLOW_NAMES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}
_MAX_FACT_CHARACTERS = 200
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FileOrder:
    """What a file is checked against."""

    media: MediaType
    allow_svg: bool
    max_image_bytes: int
    max_pixels: int = 50_000_000
    embed: bool = True
    """Whether a picture that we made keeps our metadata block."""


@dataclass(frozen=True, slots=True)
class FileInspection:
    """A file that is taken."""

    found: Recognised
    size_bytes: int
    """Of what is to be stored."""
    sha256: str | None = None
    """Of what is to be stored; None where the file is too large to be read here."""
    data: bytes | None = None
    """What is to be stored; None where that is the file as it is."""
    width: int | None = None
    height: int | None = None
    is_animated: bool = False
    thumbnail: bytes | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """Of our own metadata block."""
    notes: tuple[str, ...] = ()


def inspect_file(path: Path, order: FileOrder) -> FileInspection:
    """Recognise, check and describe one file.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file, file_unreadable, kind_mismatch,
            too_large, or the code of the ImageError that a picture met.
    """
    with open_file(path) as view:
        found = recognise_view(view)
        if found.media != order.media:
            raise _mismatch(found, order.media)
        if found.media != "image":
            return FileInspection(found, view.size)
        data = _read_picture(view, order.max_image_bytes)
    if found.is_svg:
        return _inspect_svg(data, found, is_allowed=order.allow_svg)
    try:
        return _inspect_picture(data, found, order.max_pixels, embed=order.embed)
    except ImageError as error:
        raise FileRefusedError(
            error.message, code=error.error_code, retryable=error.retryable
        ) from error


def _inspect_svg(data: bytes, found: Recognised, *, is_allowed: bool) -> FileInspection:
    if not is_allowed:
        raise FileRefusedError(
            "The file is SVG, which can run scripts; that is not taken.",
            next_action="Give it as PNG, or set ASSET_ALLOW_SVG if drawings are wanted.",
        )
    svg.check(data)
    return FileInspection(found, len(data), _digest(data))


def _inspect_picture(
    data: bytes, found: Recognised, max_pixels: int, *, embed: bool
) -> FileInspection:
    image_format = _PILLOW_NAMES[found.extension]
    end = kept_end(data, image_format)
    if end is None:
        return _inspect_still(data, found, max_pixels, embed=embed)
    moving = inspect_moving(data, end, image_format, max_pixels)
    return FileInspection(
        found,
        len(moving.data),
        _digest(moving.data),
        data=None if moving.data is data else moving.data,
        width=moving.width,
        height=moving.height,
        is_animated=moving.is_animated,
        thumbnail=moving.thumbnail,
        notes=() if moving.data is data else ("trailing_bytes_cut",),
    )


def _inspect_still(
    data: bytes, found: Recognised, max_pixels: int, *, embed: bool
) -> FileInspection:
    facts = own_facts(data)
    still = inspect_image(
        data,
        InspectionOrder(
            metadata=facts,
            embed=bool(facts) and embed,
            max_pixels=max_pixels,
            edition=metadata_edition(data),
        ),
    )
    is_unchanged = still.data == data
    return FileInspection(
        found,
        len(still.data),
        _digest(still.data),
        data=None if is_unchanged else still.data,
        width=still.width,
        height=still.height,
        thumbnail=still.thumbnail,
        facts=facts,
        # what was taken away and put back, our own block, is not worth a note
        notes=() if is_unchanged else still.notes,
    )


def short_fact(facts: dict[str, str], name: str) -> str | None:
    """A fact as it may stand in a row; None where it is absent, or too long to be one of ours."""
    value = facts.get(name, "")
    is_plausible = 0 < len(value) <= _MAX_FACT_CHARACTERS and value.isprintable()
    return value if is_plausible else None


def seed_fact(facts: dict[str, str]) -> int | None:
    """The seed that a picture was made with; None where there is no number that may be one."""
    value = facts.get("seed", "")
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        return None
    return int(value) if int(value) <= _MAX_SEED else None


def _read_picture(view: FileView, max_bytes: int) -> bytes:
    if view.size > max_bytes:
        raise FileRefusedError(
            f"The picture is larger than {max_bytes / 2**20:.4g} MiB.",
            code="too_large",
            next_action="Raise ASSET_MAX_IMAGE_MB if pictures of that size are wanted.",
        )
    view.file.seek(0)
    # a file that grows meanwhile is still bounded
    data = view.file.read(max_bytes + 1)
    if len(data) != view.size:
        raise refused("a file that somebody else is writing")
    return data


_IN_WORDS: Mapping[MediaType, str] = MappingProxyType(
    {"image": "an image", "video": "a video", "audio": "audio", "document": "a document"}
)


def _mismatch(found: Recognised, wanted: MediaType) -> FileRefusedError:
    name = FILE_TYPES[found.extension].name
    return FileRefusedError(
        f"The file is {_IN_WORDS[found.media]} ({name}), not {_IN_WORDS[wanted]}.",
        code="kind_mismatch",
        next_action="Name the kind that the file is of, or give another file.",
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
