"""Trying again: by the error's own word, a bounded number of times."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import psycopg
import pytest

from scene_pipeline.errors import LedgerError, StorageError
from scene_pipeline.pipeline.retrying import (
    DATABASE_ATTEMPTS,
    DATABASE_PATIENCE_SECONDS,
    DatabasePatience,
    with_retries,
)

LOST = psycopg.OperationalError("server closed the connection")
NO_LOCK = LedgerError("lost", code="lock_lost", retryable=True)
MOVED = LedgerError("moved", retryable=True)


class Time:
    """A clock that only sleeping and failing operations move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def steps(time: Time, results: Sequence[Exception | str], cost: float = 0.0) -> "Steps":
    return Steps(time, list(results), cost)


class Steps:
    """An operation that answers from a list."""

    def __init__(self, time: Time, results: list[Exception | str], cost: float) -> None:
        self.time, self.results, self.cost = time, results, cost
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        self.time.now += self.cost
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result


def carry_out(patience: DatabasePatience, operation: Callable[[], Awaitable[str]]) -> str:
    return asyncio.run(patience.carry_out(operation))


@pytest.mark.parametrize("error", [LOST, NO_LOCK])
def test_a_lost_database_is_sat_out(error: Exception) -> None:
    time = Time()
    operation = steps(time, [error, error, "done"])

    assert carry_out(DatabasePatience(time.sleep, lambda: time.now), operation) == "done"
    assert len(time.slept) == 2


@pytest.mark.parametrize("error", [MOVED, psycopg.DataError("no"), StorageError("no")])
def test_other_errors_are_not_tried_again(error: Exception) -> None:
    time = Time()
    operation = steps(time, [error])

    with pytest.raises(type(error)):
        carry_out(DatabasePatience(time.sleep, lambda: time.now), operation)
    assert operation.calls == 1


def test_one_operation_is_tried_a_bounded_number_of_times() -> None:
    time = Time()
    operation = steps(time, [LOST])

    with pytest.raises(psycopg.OperationalError):
        carry_out(DatabasePatience(time.sleep, lambda: time.now), operation)
    assert operation.calls <= DATABASE_ATTEMPTS


def test_while_nothing_works_nothing_is_tried_again() -> None:
    time = Time()
    patience = DatabasePatience(time.sleep, lambda: time.now)
    first = steps(time, [LOST], cost=DATABASE_PATIENCE_SECONDS / 2)
    second = steps(time, [LOST], cost=1.0)

    for operation in (first, second):
        with pytest.raises(psycopg.OperationalError):
            carry_out(patience, operation)

    assert (first.calls, second.calls) == (3, 1)


def test_a_success_restores_the_patience() -> None:
    time = Time()
    patience = DatabasePatience(time.sleep, lambda: time.now)
    with pytest.raises(psycopg.OperationalError):
        carry_out(patience, steps(time, [LOST], cost=DATABASE_PATIENCE_SECONDS))
    carry_out(patience, steps(time, ["done"]))

    assert carry_out(patience, steps(time, [LOST, "done"])) == "done"


def test_retries_follow_the_errors_own_word() -> None:
    time = Time()
    passing = steps(time, [StorageError("no", retryable=True), "done"])
    final = steps(time, [StorageError("no")])

    assert asyncio.run(with_retries(passing, attempts=3, sleep=time.sleep)) == "done"
    with pytest.raises(StorageError):
        asyncio.run(with_retries(final, attempts=3, sleep=time.sleep))
    assert final.calls == 1
