"""Reading what Fal says about a request: tolerant of everything but a missing picture.

Belongs here: JSON in, our values out. Does not belong here: connections and errors.
"""

from collections.abc import Mapping
from typing import Any

from scene_pipeline.providers.answers import clean_text
from scene_pipeline.providers.base import Progress, ProviderImage

MAX_LOG_LINES = 20
MAX_LOG_LINE_LENGTH = 500

_PICTURE_FIELDS = frozenset({"file_data"})


def read_progress(body: Mapping[str, Any], secrets: tuple[str, ...]) -> Progress | None:
    """Read a status; `logs` and `queue_position` may be absent. None for an unknown status."""
    position = body.get("queue_position")
    lines = _log_lines(body.get("logs"), secrets)
    match body.get("status"):
        case "IN_QUEUE":
            known = position if isinstance(position, int) and position >= 0 else None
            return Progress("queued", queue_position=known, log_lines=lines)
        case "IN_PROGRESS":
            return Progress("running", log_lines=lines)
        case "COMPLETED":
            return Progress("completed", log_lines=lines)
    return None


def read_images(body: Mapping[str, Any]) -> tuple[ProviderImage, ...]:
    """Read the pictures of a result: `images`, or `image` for models that make just one.

    Everything but `url` is optional; `has_nsfw_concepts[i]` flags picture i. Pictures within the
    result itself (data: URLs) are not read: they are never asked for.
    """
    listed = body.get("images")
    entries = listed if isinstance(listed, list) else [body.get("image")]
    flags = body.get("has_nsfw_concepts")
    flags = flags if isinstance(flags, list) else []
    images = []
    for index, entry in enumerate(entries):
        fields = {"url": entry} if isinstance(entry, str) else entry
        if not isinstance(fields, dict):
            continue
        url = fields.get("url")
        if not isinstance(url, str) or not url.lower().startswith(("https://", "http://")):
            continue
        images.append(
            ProviderImage(
                url=url,
                width=_size(fields.get("width")),
                height=_size(fields.get("height")),
                content_type=_text(fields.get("content_type")),
                is_flagged=index < len(flags) and flags[index] is True,
            )
        )
    return tuple(images)


def without_pictures(body: Mapping[str, Any]) -> dict[str, Any]:
    """The result as it is kept in the ledger: without picture bytes in any field."""
    return {name: _stripped(value) for name, value in body.items() if name not in _PICTURE_FIELDS}


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return without_pictures(value)
    if isinstance(value, list):
        return [_stripped(entry) for entry in value]
    if isinstance(value, str) and value.startswith("data:"):
        return "data: (left out)"
    return value


def _log_lines(logs: object, secrets: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(logs, list):
        return ()
    lines = []
    for entry in logs[-MAX_LOG_LINES:]:
        message = entry.get("message") if isinstance(entry, dict) else entry
        if isinstance(message, str) and message.strip():
            lines.append(clean_text(message, secrets, max_length=MAX_LOG_LINE_LENGTH))
    return tuple(lines)


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
