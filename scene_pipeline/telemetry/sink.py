"""Where spans and measurements go, if anywhere: one place per process.

Belongs here: what a sink can be told. Does not belong here: OpenTelemetry (`telemetry.otel`), which
is imported only where telemetry is on.
"""

from collections.abc import Mapping
from typing import Protocol

from scene_pipeline.telemetry.facts import FactValue

Facts = Mapping[str, FactValue]


class Span(Protocol):
    """Something that has begun and takes time."""

    def activate(self) -> object:
        """Let what begins from here on, in this task, be a part of it; gives a token."""

    def deactivate(self, token: object) -> None:
        """Undo `activate`, in the same task."""

    def end(self, facts: Facts, code: str | None) -> None:
        """It is over: with what became known, and the code of its error where it has one."""


class Sink(Protocol):
    """What is told of spans and measurements; no method raises or waits."""

    def begin(self, name: str, facts: Facts, *, run_id: str | None = None) -> Span:
        """Something begins; with `run_id` it is the root of that run's trace."""

    def add(self, instrument: str, amount: float, facts: Facts) -> None:
        """Add to a counter, or to what goes up and down."""

    def record(self, instrument: str, value: float, facts: Facts) -> None:
        """One value of a histogram."""


_sink: Sink | None = None


def current_sink() -> Sink | None:
    """Where to tell; None where telemetry is off."""
    return _sink


def use_sink(sink: Sink | None) -> None:
    """From now on tell this one."""
    global _sink  # noqa: PLW0603  # one per process, as the environment that asks for it
    _sink = sink
