"""Words that users give to what they add, made fit to be kept and shown.

Belongs here: names and metadata. Does not belong here: tags (`pipeline.library.tagging`).
"""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scene_pipeline.errors import UsageError

MAX_NAME_LENGTH = 300
MAX_PLACE_LENGTH = 200
"""Of the ids of clients, campaigns and users; far below what an index of the database takes."""
MAX_METADATA_BYTES = 64 * 1024
_UNNAMED = "unnamed"


def asset_name(given: str, path: Path) -> str:
    """The name of an asset: the given one, or the file's own without the folders before it.

    Raises:
        UsageError: code "name_invalid": the given one is too long or has nothing to be read.
    """
    if not given:
        # A name may come from another system, whose folders are separated otherwise.
        last = path.name.replace("\\", "/").rpartition("/")[2]
        return plain_words(last)[:MAX_NAME_LENGTH].strip() or _UNNAMED
    return checked_name(given)


def checked_name(given: str) -> str:
    """A name that somebody gave, as it is kept.

    Raises:
        UsageError: code "name_invalid": it is too long or has nothing to be read.
    """
    name = plain_words(given)
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise UsageError(
            f"{given[:80]!r} is no name for an asset.",
            code="name_invalid",
            next_action=f"A name has 1 to {MAX_NAME_LENGTH} printable characters.",
        )
    return name


def checked_place(place: str, given: str | None) -> str | None:
    """The client, campaign or user that something is kept for, exactly as given; "" is none.

    Args:
        place: What of them it is, for people.
        given: Its id in whatever system it is from.

    Raises:
        UsageError: code "place_invalid": it is too long to be looked for, or cannot be read.
    """
    if given and not (len(given) <= MAX_PLACE_LENGTH and given.isprintable()):
        raise UsageError(
            f"{given[:80]!r} is no {place}.",
            code="place_invalid",
            next_action=f"A {place} has at most {MAX_PLACE_LENGTH} printable characters.",
        )
    return given or None


def plain_words(text: str) -> str:
    """A text on one line, composed, without anything that is not to be read."""
    composed = unicodedata.normalize("NFC", text)
    visible = (char if char.isprintable() else " " for char in composed)
    return " ".join("".join(visible).split())


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a user wants to be kept with an asset, as JSON can hold it.

    Raises:
        UsageError: code "metadata_invalid".
    """
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise _metadata_invalid("it is not JSON") from error
    if "\\u0000" in text:
        raise _metadata_invalid("it holds a NUL character")
    if size > MAX_METADATA_BYTES:
        raise _metadata_invalid(f"it has {size} bytes")
    kept: dict[str, Any] = json.loads(text)
    return kept


def _metadata_invalid(reason: str) -> UsageError:
    return UsageError(
        f"The metadata cannot be kept: {reason}.",
        code="metadata_invalid",
        next_action=f"Give a JSON object of at most {MAX_METADATA_BYTES} bytes.",
    )
