"""Child processes that do not outlive this one, however it ends.

Belongs here: the request to the kernel. Does not belong here: which programs are started.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def dies_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel send a signal to the child when this process dies.

    It runs after `subprocess` has changed the child's user, which would clear the request. Linux
    only: elsewhere the child is found again through its lock file.

    Args:
        number: The signal. Its default action is restored first: a shell may have started our
            client with SIGINT ignored, and children inherit that.
    """
    if sys.platform != "linux":
        return None
    control = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        control(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the request was made
            os._exit(1)

    return in_child
