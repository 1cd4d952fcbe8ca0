"""How a worker and its pool talk: messages of a JSON header and binary parts over a pipe.

Belongs here: framing and its bounds, and how an error travels. Does not belong here: what else is
said. Standard library and errors only.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any

from scene_pipeline.errors import FileRefusedError, ImageError

_MAGIC = b"SPM1"
_PREFIX = struct.Struct(">4sI")
_MAX_HEADER_BYTES = 8 * 2**20
MAX_PARTS_BYTES = 256 * 2**20
"""All binary parts of one message together."""


class BrokenMessageError(Exception):
    """The other side went away, or said something that is no message."""


def write_message(stream: IO[bytes], header: Mapping[str, Any], parts: Sequence[bytes]) -> None:
    """Send one message.

    Raises:
        BrokenMessageError: It is larger than may be sent.
        OSError: The other side is gone.
    """
    sizes = [len(part) for part in parts]
    body = json.dumps({"header": dict(header), "sizes": sizes}).encode()
    if len(body) > _MAX_HEADER_BYTES or sum(sizes) > MAX_PARTS_BYTES:
        message = "the message is too large"
        raise BrokenMessageError(message)
    stream.write(_PREFIX.pack(_MAGIC, len(body)))
    stream.write(body)
    for part in parts:
        stream.write(part)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], list[bytes]] | None:
    """Wait for one message.

    Returns:
        Header and parts; None where the other side closed the pipe between two messages.

    Raises:
        BrokenMessageError: The pipe was closed within a message, or this is none.
    """
    prefix = stream.read(_PREFIX.size)
    if not prefix:
        return None
    if len(prefix) < _PREFIX.size:
        raise BrokenMessageError("the message is cut")
    magic, body_size = _PREFIX.unpack(prefix)
    if magic != _MAGIC or body_size > _MAX_HEADER_BYTES:
        raise BrokenMessageError("this is no message")
    try:
        body = json.loads(_read_exactly(stream, body_size))
        header, sizes = dict(body["header"]), [int(size) for size in body["sizes"]]
    except (ValueError, TypeError, KeyError) as error:
        raise BrokenMessageError("this is no message") from error
    if any(size < 0 for size in sizes) or sum(sizes) > MAX_PARTS_BYTES:
        raise BrokenMessageError("the message is too large")
    return header, [_read_exactly(stream, size) for size in sizes]


def error_as_data(error: ImageError | FileRefusedError) -> dict[str, Any]:
    """How an error is sent."""
    return {
        "is_file": isinstance(error, FileRefusedError),
        "message": error.message,
        "code": error.error_code,
        "next_action": error.next_action,
        "retryable": error.retryable,
    }


def error_from_data(data: Mapping[str, Any]) -> ImageError | FileRefusedError:
    """The error that was sent."""
    kind = FileRefusedError if data["is_file"] else ImageError
    return kind(
        data["message"],
        code=data["code"],
        next_action=data["next_action"],
        retryable=data["retryable"],
    )


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise BrokenMessageError("the message is cut")
    return data
