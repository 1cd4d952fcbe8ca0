"""Hears Ctrl-C and termination the moment they come, also while Dagster holds them back.

Dagster keeps a signal to itself while it writes events, and raises it where the op would go on; the
op itself is not told, and what it has begun lives for as long as the error travels. A stream would
go on paying meanwhile.

Belongs here: hearing signals. Does not belong here: what an interrupted op does (`defs.frames`).
"""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_INTERRUPTIONS: Final = frozenset({signal.SIGINT, signal.SIGTERM})
_ACT_SECONDS: Final = 5.0
"""How long the end of the block waits for somebody who is being told."""


@contextmanager
def hearing_interruptions(act: Callable[[], None]) -> Iterator[threading.Event]:
    """Call back when the process is interrupted, whoever handles the signal.

    Python's own handler writes each signal's number to a file descriptor before anybody else is
    asked. Signals that are ignored, as under `nohup`, are not heard; nor is anything outside of the
    main thread, where no op of a run is executed.

    Args:
        act: Called in a thread of its own, for each signal.

    Yields:
        What is set from the first signal on: the error that it becomes may be raised where nobody
        hands it on.
    """
    heard = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return

    def hear() -> None:
        heard.set()
        act()

    hearing, calling = socket.socketpair()
    calling.setblocking(False)
    listener = threading.Thread(
        target=_listen, args=(hearing, hear), name="interruptions", daemon=True
    )
    listener.start()
    before = signal.set_wakeup_fd(calling.fileno(), warn_on_full_buffer=False)
    try:
        yield heard
    finally:
        signal.set_wakeup_fd(before)
        calling.close()
        listener.join(_ACT_SECONDS)


def _listen(hearing: socket.socket, act: Callable[[], None]) -> None:
    with hearing:
        while numbers := hearing.recv(64):
            if not _INTERRUPTIONS.isdisjoint(numbers):
                act()
