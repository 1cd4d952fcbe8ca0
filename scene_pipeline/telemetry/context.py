"""Who a line or span is about: facts that follow the work through tasks and threads.

Belongs here: the facts themselves and how long they hold. Does not belong here: how they are shown
(`telemetry.lines`, `telemetry.otel`).

They live in a context variable: a task of asyncio has those of whoever created it, and
`Services.call` hands them into its threads. They must be set and dropped by the same task: never
around the `yield` of an asynchronous generator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class LogContext:
    """What is known of the work that is under way; None where it is not."""

    project: str | None = None
    """The project's key."""
    scene: str | None = None
    generation: str | None = None
    """Id of the ledger's row."""
    run: str | None = None
    """Id of the run, which is Dagster's where Dagster runs it."""


_NOTHING = LogContext()
_current: ContextVar[LogContext] = ContextVar("scene_pipeline_log_context", default=_NOTHING)


def current_context() -> LogContext:
    """What is known of the work that is under way here."""
    return _current.get()


@contextmanager
def log_context(
    *,
    project: str | None = None,
    scene: str | None = None,
    generation: str | None = None,
    run: str | None = None,
) -> Iterator[None]:
    """Put facts on every line and span of the block; what is left out stays as it is."""
    given = {"project": project, "scene": scene, "generation": generation, "run": run}
    known = {name: value for name, value in given.items() if value is not None}
    token = _current.set(replace(_current.get(), **known))
    try:
        yield
    finally:
        _current.reset(token)
