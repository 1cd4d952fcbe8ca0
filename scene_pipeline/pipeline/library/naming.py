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
    name = plain_words(given)
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise UsageError(
            f"{given[:80]!r} is no name for an asset.",
            code="name_invalid",
            next_action=f"A name has 1 to {MAX_NAME_LENGTH} printable characters.",
        )
    return name


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
