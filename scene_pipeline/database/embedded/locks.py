"""Advisory file locks that end with the process that holds them.

Belongs here: `flock` without waiting. Does not belong here: who locks what, and why.
"""

import fcntl
from typing import Literal


def try_lock(descriptor: int, kind: Literal["shared", "exclusive"]) -> bool:
    """Take the lock at once, or not at all.

    Args:
        descriptor: An open file. The lock belongs to it and to the copies a child inherits.
        kind: Many may hold a shared lock, one an exclusive one.
    """
    operation = fcntl.LOCK_SH if kind == "shared" else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Give the lock up while the file stays open."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
