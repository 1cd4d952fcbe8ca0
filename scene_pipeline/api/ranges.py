"""Which part of an object a reader asks for.

Belongs here: the `Range` header. Does not belong here: sending it.
"""

import re

from starlette.datastructures import Headers

_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))", re.ASCII)


def part_asked_for(headers: Headers, etag: str, size_bytes: int) -> range | None:
    """The positions that are asked for.

    A malformed range, and several of them, are ignored, as the standard lets a server: no reader of
    pictures and films needs either.

    Args:
        headers: Of the request.
        etag: Of the object as it is; a range of another version is ignored.
        size_bytes: Of the whole object.

    Returns:
        None for the whole; an empty range where the part is beyond the end.
    """
    match = _ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or headers.get("if-range", etag) != etag:
        return None
    first, last, tail = match.groups()
    if tail is not None:
        return range(max(0, size_bytes - int(tail)), size_bytes)
    if last is None:
        return range(int(first), size_bytes)
    if int(first) > int(last):
        return None
    return range(int(first), min(int(last) + 1, size_bytes))
