"""The one place that tries a step again: by the error's own word, a bounded number of times."""

import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from scene_pipeline.database.locks import LOCK_LOST
from scene_pipeline.errors import LedgerError, SceneError

T = TypeVar("T")
MAX_WAIT_SECONDS = 60.0
"""Longest pause between two attempts, whatever the other side asked for."""
DATABASE_ATTEMPTS = 6
DATABASE_PATIENCE_SECONDS = 30.0
"""How long a run puts up with a database that nothing works with; a restart takes a few seconds."""


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


class DatabasePatience:
    """How one run puts up with a database that is restarted under it.

    Each operation is tried again, as often and as long as is reasonable; while nothing at all has
    worked for DATABASE_PATIENCE_SECONDS, nothing is tried again.

    Args:
        sleep: Waits for some seconds.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._failing_since: float | None = None

    async def carry_out(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do it, and do it again where the connection to the database was lost.

        Raises:
            psycopg.OperationalError: The database did not come back in time.
            LedgerError: code "lock_lost": the same, seen from the connection that holds the locks.
        """
        for attempt in range(1, DATABASE_ATTEMPTS + 1):
            try:
                result = await operation()
            except psycopg.OperationalError:
                if not self._is_worth_another(attempt):
                    raise
            except LedgerError as error:
                if error.error_code != LOCK_LOST or not self._is_worth_another(attempt):
                    raise
            else:
                self._failing_since = None
                return result
            await self._sleep(backoff_seconds(attempt))
        raise AssertionError("DATABASE_ATTEMPTS must be at least 1")

    def _is_worth_another(self, attempt: int) -> bool:
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        is_patient = now - self._failing_since < DATABASE_PATIENCE_SECONDS
        return is_patient and attempt < DATABASE_ATTEMPTS
