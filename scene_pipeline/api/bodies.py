"""What a caller sends, within bounds of size and time.

Belongs here: receiving. Does not belong here: what it means (`api.library_fields`), and who may
send (`api.access`, `storage.served`).
"""

from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request

from scene_pipeline.errors import DocumentError, UsageError
from scene_pipeline.scenes.json_text import parse_document

MAX_JSON_BYTES = 128 * 1024
"""Metadata may have 64 KiB, and its quotation marks may be escaped."""
JSON_SECONDS = 30.0
_JSON_TYPE = "application/json"


async def timely_chunks(
    request: Request, *, idle_seconds: float, total_seconds: float
) -> AsyncIterator[bytes]:
    """Give a request's body as it arrives.

    Args:
        request: Whose body was not read yet.
        idle_seconds: The longest silence.
        total_seconds: The longest that the whole may take.

    Raises:
        TimeoutError: It took longer.
        ClientDisconnect: The other side went away before the end.
    """
    deadline = anyio.current_time() + total_seconds
    chunks = request.stream()
    while True:
        now = anyio.current_time()
        with anyio.fail_after(min(deadline - now, idle_seconds)):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


async def read_json(request: Request) -> dict[str, Any]:
    """Read a body that is one JSON object.

    Raises:
        UsageError: code "content_type_unsupported", "body_too_large", "body_too_slow", "body_cut"
            or "body_invalid".
    """
    if media_type(request) != _JSON_TYPE:
        raise UsageError(
            "The body must be JSON.",
            code="content_type_unsupported",
            next_action=f"Send it with `Content-Type: {_JSON_TYPE}`.",
        )
    if announced_bytes(request) > MAX_JSON_BYTES:
        raise _json_too_large()
    body = bytearray()
    try:
        async for chunk in timely_chunks(
            request, idle_seconds=JSON_SECONDS, total_seconds=JSON_SECONDS
        ):
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                raise _json_too_large()
    except TimeoutError as error:
        raise too_slow() from error
    except ClientDisconnect as error:
        raise cut() from error
    return _parsed(bytes(body))


def media_type(request: Request) -> str:
    """The type that a body was sent with, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def announced_bytes(request: Request) -> int:
    """The length that was announced; 0 where none was. The server has checked that it is one."""
    return int(request.headers.get("content-length", "0"))


def too_slow() -> UsageError:
    """The body stopped arriving, or took too long as a whole."""
    return UsageError(
        "The body took too long to arrive.", code="body_too_slow", next_action="Send it again."
    )


def cut() -> UsageError:
    """The other side went away before the end of the body."""
    return UsageError(
        "The connection ended before the end of the body.",
        code="body_cut",
        next_action="Send it again.",
    )


def _json_too_large() -> UsageError:
    return UsageError(
        f"The body has more than {MAX_JSON_BYTES} bytes.",
        code="body_too_large",
        next_action="Send less at once.",
    )


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        return parse_document(body)
    except DocumentError as error:
        raise UsageError(
            f"The body cannot be used. {error.message}",
            code="body_invalid",
            next_action="Send one JSON object in UTF-8.",
        ) from error
