"""Reading the body of an answer: judged first, counted on the way, cut at the limit.

Belongs here: chunks, and the new file that they may go into. Does not belong here: whom to ask
(`media.exchange`) and what the bytes are (`media.inspection`, `media.recognition`).
"""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from scene_pipeline.errors import FetchError
from scene_pipeline.media.exchange import Answer
from scene_pipeline.media.responses import Wanted, check_headers, check_status, too_large
from scene_pipeline.media.transport_errors import TRANSPORT_ERRORS

OnBytes = Callable[[int, int | None], None]
"""Told bytes received so far and, where declared, the whole size."""

_log = logging.getLogger(__name__)
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]+")


def body_of(
    answer: Answer, wanted: Wanted, max_bytes: int, on_bytes: OnBytes | None = None
) -> Iterator[bytes]:
    """Give a body in chunks, once status and headers were judged.

    Raises:
        FetchError: http_status_NNN, link_expired, content_encoding, too_large (unread where its
            declared length says so) or `wanted.refusal_code`.
    """
    check_status(answer.response.status, answer.headers, answer.where, wanted=wanted)
    try:
        size = check_headers(answer.headers, max_bytes, answer.where, wanted)
    except FetchError as error:
        if error.error_code == wanted.refusal_code:
            _log.info("%s answered no %s but %r", answer.where, wanted.noun, _beginning(answer))
        raise
    received = 0
    for chunk in answer.response.iter_stream():
        received += len(chunk)
        if received > max_bytes:
            raise too_large(answer.where, max_bytes, wanted)
        yield chunk
        if on_bytes is not None:
            on_bytes(received, size)


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """Open a file that nobody else has, and remove it again after any error.

    Raises:
        FileExistsError: It is there already; it stays as it is.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            yield file
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def write_whole(file: IO[bytes], chunk: bytes) -> None:
    """Write a chunk into a file that `new_file` gave.

    Raises:
        FetchError: cannot_write, retryable.
    """
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise FetchError(
            f"The file could not be written: {error.strerror}.",
            code="cannot_write",
            retryable=True,
            next_action="Make room on the disk that holds the temporary files.",
        ) from error


def _beginning(answer: Answer) -> str:
    """At most 120 printable characters of a refused body, to show what a server says instead."""
    try:
        chunk = next(iter(answer.response.iter_stream()), b"")
    except TRANSPORT_ERRORS:
        return ""
    return _UNPRINTABLE.sub(b" ", chunk[:480]).decode("ascii")[:120]
