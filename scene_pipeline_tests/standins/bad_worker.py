"""A worker that does what a decoder under attack does; run by a pool in place of its own."""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scene_pipeline.media import worker

SEGFAULT, SPIN, SLEEP, EAT, BABBLE, QUIT, TELL = (
    b"segfault", b"spin", b"sleep", b"eat", b"babble", b"quit", b"tell"
)  # fmt: skip


def main() -> None:
    """Serve like the real worker, but for pictures that are orders to misbehave."""
    worker.serve({"inspect": _inspect}, json.loads(sys.argv[-1]))


def _inspect(header: Mapping[str, Any], parts: Sequence[bytes]) -> worker.Answer:
    order = bytes(parts[0])
    if order == SEGFAULT:
        os.kill(os.getpid(), signal.SIGSEGV)
    while order == SPIN:
        pass
    if order == SLEEP:
        signal.pause()
    if order == EAT:
        bytearray(2**30)
    if order == BABBLE:
        os.write(_answer_descriptor(), b"HTTP/1.1 200 OK\r\n\r\nthis is no message")
        signal.pause()
    if order == QUIT:
        sys.exit(3)
    if order == TELL:
        told = json.dumps({"environment": dict(os.environ), "descriptors": _open_descriptors()})
        facts = {"image_format": "PNG", "width": 1, "height": 1, "notes": [told, str(os.getpid())]}
        return {**facts, "is_reencoded": False, "is_blank": False}, (b"", b"")
    return worker._inspect(header, parts)


def _open_descriptors() -> list[str]:
    """What each open descriptor leads to; the one that lists them is left out."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # one listing, no extra descriptor
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
        except FileNotFoundError:
            continue
    return found


def _answer_descriptor() -> int:
    """The pipe that answers go through: the last of those that the worker kept for itself."""
    return max(
        int(name)
        for name in os.listdir("/proc/self/fd")  # noqa: PTH208
        if os.path.exists(f"/proc/self/fd/{name}")  # noqa: PTH110
        and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:")  # noqa: PTH115
    )
