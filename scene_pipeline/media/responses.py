"""What an answer's status and headers mean for a fetch, before any of its body is trusted.

Belongs here: the table from status and headers to an error or to "go on". Does not belong here:
connections (`media.network`) and the bytes themselves (`media.inspection`).
"""

import email.utils
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from scene_pipeline.errors import FetchError

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_EXPIRED_STATUSES = frozenset({403, 404, 410})
# What servers say about pictures, the nameless types of object stores included. The bytes decide.
_ACCEPTED_TYPES = frozenset(
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "image/jpeg",
        "image/jpg",
        "image/png",
        "image/webp",
    }
)
MAX_RETRY_AFTER_SECONDS = 120.0
_TYPE_SHOWN = re.compile(r"[^a-z0-9.+/-]")


class Headers:
    """An answer's headers, looked up without regard to case."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())

    def get(self, name: str) -> str:
        """First value of a header; "" where it is absent."""
        return self._values.get(name, "")


def check_status(status: int, headers: Headers, where: str, now: datetime | None = None) -> None:
    """Let status 200 pass.

    Args:
        status: Of the answer, no redirect.
        headers: Of the answer.
        where: The redacted URL, for the message.
        now: What "Retry-After: <date>" is counted from; the present when left out.

    Raises:
        FetchError: `link_expired` for 403, 404, 410; otherwise `http_status_NNN`, retryable for
            408, 425, 429 and 5xx, with the wait asked for, at most 120 s.
    """
    if status == HTTPStatus.OK:
        return
    if status in _EXPIRED_STATUSES:
        raise FetchError(
            f"{where} answered {status}: the link is gone or has expired.",
            code="link_expired",
            next_action="The provider's result is read again for a fresh link.",
        )
    is_retryable = status in _RETRYABLE_STATUSES or 500 <= status <= 599
    raise FetchError(
        f"{where} answered {status} instead of a picture.",
        code=f"http_status_{status}",
        retryable=is_retryable,
        retry_after_seconds=retry_after_seconds(headers.get("retry-after"), now)
        if is_retryable
        else None,
    )


def check_headers(headers: Headers, max_bytes: int, where: str) -> int | None:
    """Refuse a body by what is declared about it, before reading it.

    Returns:
        The declared length in bytes; None where there is none.

    Raises:
        FetchError: `content_encoding` (a compressed body may grow a thousandfold), `too_large`,
            `not_image`; never retryable.
    """
    encoding = headers.get("content-encoding").lower()
    if encoding not in {"", "identity"}:
        raise FetchError(
            f"{where} answered with a compressed body, which is not accepted.",
            code="content_encoding",
        )
    length = headers.get("content-length")
    size = int(length) if length.isascii() and length.isdigit() else None
    if size is not None and size > max_bytes:
        raise too_large(where, max_bytes)
    declared = declared_type(headers)
    if declared not in _ACCEPTED_TYPES:
        raise FetchError(
            f"{where} answered with {_TYPE_SHOWN.sub('?', declared)[:60]} instead of a picture.",
            code="not_image",
        )
    return size


def declared_type(headers: Headers) -> str:
    """The media type without its parameters, in lower case; "" where none is declared."""
    return headers.get("content-type").partition(";")[0].strip().lower()


def too_large(where: str, max_bytes: int) -> FetchError:
    """The error for a body beyond the limit."""
    return FetchError(
        f"{where} is larger than {max_bytes / 2**20:.4g} MiB.",
        code="too_large",
        next_action="Raise ASSET_MAX_IMAGE_MB if pictures of that size are wanted.",
    )


def retry_after_seconds(value: str, now: datetime | None = None) -> float | None:
    """Seconds asked for by a Retry-After header in either of its forms, capped; None if absurd."""
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            until = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        seconds = (aware - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
