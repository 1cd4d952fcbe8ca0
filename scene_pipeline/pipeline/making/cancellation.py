"""Cancellations that were lost on the way.

Before Python 3.12 `asyncio.wait_for` gives its result and drops the cancellation where both come in
one turn of the loop (https://github.com/python/cpython/issues/86296), and psycopg waits with it for
every answer of the database: one worker among many then goes on as if nothing were said.
"""

import asyncio


def raise_if_cancelled() -> None:
    """End the task where it was cancelled and does not know: before new work, and before money.

    Raises:
        CancelledError: Somebody cancelled the task that this is called in.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
