"""The one place that tries a step again: by the error's own word, a bounded number of times."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from scene_pipeline.errors import SceneError

T = TypeVar("T")
MAX_WAIT_SECONDS = 60.0
"""Longest pause between two attempts, whatever the other side asked for."""


def backoff_seconds(attempt: int, error: SceneError | None = None) -> float:
    """How long to wait after attempt `attempt` (from 1): 0.5, 1, 2, 4 ... seconds, with jitter."""
    wait = 0.5 * 2.0 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311  # only spreads load
    if error is not None and error.retry_after_seconds is not None:
        wait = max(wait, error.retry_after_seconds)
    return min(wait, MAX_WAIT_SECONDS)


async def with_retries(
    operation: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Do it until it succeeds, fails for good, or was tried `attempts` times.

    Raises:
        SceneError: The last one, or the first that says it is not retryable.
    """
    for attempt in range(1, attempts + 1):
        try:
            return await operation()
        except SceneError as error:
            if not error.retryable or attempt == attempts:
                raise
            await sleep(backoff_seconds(attempt, error))
    raise AssertionError("attempts must be at least 1")
