"""Waiting for what comes when it comes: a condition with a deadline, never a pause.

Belongs here: that. Does not belong here: what is waited for.
"""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 15.0) -> None:
    """Wait for a condition with a deadline.

    Raises:
        TimeoutError: It did not come true in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not come true in {timeout_seconds} s")
        time.sleep(0.02)
