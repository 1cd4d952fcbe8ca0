"""What an answer's status and headers mean for a fetch, before any of its body is trusted.

Belongs here: the table from status and headers to an error or to "go on". Does not belong here:
connections (`media.network`) and the bytes themselves (`media.inspection`).
"""

import email.utils
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from scene_pipeline.errors import FetchError

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_EXPIRED_STATUSES = frozenset({403, 404, 410})
# What object stores say when they were not told, and a name in use that no register knows.
_NAMELESS_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_OTHER_NAMES = {"image/jpg": "image/jpeg"}
MAX_RETRY_AFTER_SECONDS = 120.0
_TYPE_SHOWN = re.compile(r"[^a-z0-9.+/-]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an answer is asked for, and what its absence is called."""

    accept: str
    """Media types as in an Accept header. Of what else is declared no byte is read; the bytes
    decide, so a type without a name passes."""
    noun: str
    refusal_code: str
    """Of the error for a declared type that `accept` does not hold."""
    size_cure: str
    expired_cure: str

    def accepts(self, declared: str) -> bool:
        """Whether a declared type is one of those wanted, or none at all."""
        if declared in _NAMELESS_TYPES:
            return True
        name = _OTHER_NAMES.get(declared, declared)
        family = name.partition("/")[0]
        wanted = (each.partition(";")[0].strip().lower() for each in self.accept.split(","))
        return any(each in {"*/*", f"{family}/*", name} for each in wanted)


PICTURE = Wanted(
    accept="image/png,image/jpeg,image/webp",
    noun="picture",
    refusal_code="not_image",
    size_cure="Raise ASSET_MAX_IMAGE_MB if pictures of that size are wanted.",
    expired_cure="The provider's result is read again for a fresh link.",
)


def wanted_file(accept: str) -> Wanted:
    """A file of any kind, as far as `accept` allows it."""
    return Wanted(
        accept=accept,
        noun="file",
        refusal_code="type_not_accepted",
        size_cure="Raise ASSET_MAX_DOWNLOAD_MB if files of that size are wanted.",
        expired_cure="Give an address that still works.",
    )


class Headers:
    """An answer's headers, looked up without regard to case."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())

    def get(self, name: str) -> str:
        """First value of a header; "" where it is absent."""
        return self._values.get(name, "")


def check_status(
    status: int,
    headers: Headers,
    where: str,
    now: datetime | None = None,
    *,
    wanted: Wanted = PICTURE,
) -> None:
    """Let status 200 pass.

    Args:
        status: Of the answer, no redirect.
        headers: Of the answer.
        where: The redacted URL, for the message.
        now: What "Retry-After: <date>" is counted from; the present when left out.
        wanted: What was asked for.

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
            next_action=wanted.expired_cure,
        )
    is_retryable = status in _RETRYABLE_STATUSES or 500 <= status <= 599
    raise FetchError(
        f"{where} answered {status} instead of a {wanted.noun}.",
        code=f"http_status_{status}",
        retryable=is_retryable,
        retry_after_seconds=retry_after_seconds(headers.get("retry-after"), now)
        if is_retryable
        else None,
    )


def check_headers(
    headers: Headers, max_bytes: int, where: str, wanted: Wanted = PICTURE
) -> int | None:
    """Refuse a body by what is declared about it, before reading it.

    Returns:
        The declared length in bytes; None where there is none.

    Raises:
        FetchError: `content_encoding` (a compressed body may grow a thousandfold), `too_large`,
            or `wanted.refusal_code`; never retryable.
    """
    encoding = headers.get("content-encoding").lower()
    if encoding not in {"", "identity"}:
        raise FetchError(
            f"{where} answered with a compressed body, which is not accepted.",
            code="content_encoding",
        )
    size = declared_size(headers)
    if size is not None and size > max_bytes:
        raise too_large(where, max_bytes, wanted)
    declared = declared_type(headers)
    if not wanted.accepts(declared):
        shown = _TYPE_SHOWN.sub("?", declared)[:60]
        raise FetchError(
            f"{where} answered with {shown} instead of a {wanted.noun}.", code=wanted.refusal_code
        )
    return size


def declared_size(headers: Headers) -> int | None:
    """Bytes of the body as declared; None where that is no number, or an absurd one."""
    length = headers.get("content-length")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None


def declared_type(headers: Headers) -> str:
    """The media type without its parameters, in lower case; "" where none is declared."""
    return headers.get("content-type").partition(";")[0].strip().lower()


def too_large(where: str, max_bytes: int, wanted: Wanted) -> FetchError:
    """The error for a body beyond the limit."""
    return FetchError(
        f"{where} is larger than {max_bytes / 2**20:.4g} MiB.",
        code="too_large",
        next_action=wanted.size_cure,
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
