"""How things of the library are read from the command line and written for people.

Belongs here: that. Does not belong here: JSON, which is the same at every door
(`pipeline.library.showing`).
"""

from typing import TYPE_CHECKING

from scene_pipeline.cli.wording import size_words
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.identity import ASSET_KINDS, AssetKind, LibraryKind

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIBRARY_KINDS: "tuple[LibraryKind, ...]" = ("frame", *ASSET_KINDS)


def read_kind(text: str | None) -> AssetKind | None:
    """Read a kind that something can be added as.

    Raises:
        UsageError: There is no such kind.
    """
    for kind in ASSET_KINDS:
        if kind == text:
            return kind
    if text is None:
        return None
    raise _no_kind(text, ASSET_KINDS)


def read_library_kind(text: str | None) -> LibraryKind | None:
    """Read a kind that can be looked for: frames are among them.

    Raises:
        UsageError: There is no such kind.
    """
    for kind in _LIBRARY_KINDS:
        if kind == text:
            return kind
    if text is None:
        return None
    raise _no_kind(text, _LIBRARY_KINDS)


def _no_kind(text: str, kinds: "Sequence[str]") -> UsageError:
    return UsageError(
        f"{text[:40]!r} is no kind of the library.",
        code="usage",
        next_action=f"The kinds are {', '.join(kinds)}.",
    )


def size_of(asset: AssetRow) -> str:
    """Pixels, where there are any, and bytes."""
    parts = []
    if asset.width is not None:
        parts.append(f"{asset.width}x{asset.height}")
    if asset.size_bytes is not None:
        parts.append(size_words(asset.size_bytes))
    return ", ".join(parts)
