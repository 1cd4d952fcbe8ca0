"""Runs, scenes and stages as they are logged, timed, counted and traced: one hook for all four.

Belongs here: measuring. Does not belong here: what a stage does, names of attributes
(`telemetry.facts`), where the measurements go (`telemetry.sink`).

Nothing here changes what happens: errors pass through as they are, and where telemetry is off and
the log is quiet a stage costs a few microseconds.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.telemetry.context import current_context, log_context
from scene_pipeline.telemetry.facts import FactValue, StageName
from scene_pipeline.telemetry.lines import FACTS
from scene_pipeline.telemetry.sink import Span, current_sink

_log = logging.getLogger(__name__)

CANCELLED: Final = "cancelled"
"""Stands for the code of what was interrupted."""

STAGE_SECONDS: Final = "scene_pipeline.stage.duration"
FRAMES: Final = "scene_pipeline.frames"
COST_USD: Final = "scene_pipeline.cost"
FAILURES: Final = "scene_pipeline.failures"
BYTES_STORED: Final = "scene_pipeline.storage.bytes"
IN_FLIGHT: Final = "scene_pipeline.generations.in_flight"
_COUNTED_BY = ("provider", "model")


class StageRecord:
    """What is told of a stage: given at its begin, and noted until its end."""

    __slots__ = ("facts",)

    def __init__(self, facts: dict[str, FactValue]) -> None:
        self.facts = facts

    def note(self, **facts: FactValue | None) -> None:
        """Add what has become known; None is nothing."""
        self.facts.update({name: value for name, value in facts.items() if value is not None})


_scene: ContextVar[StageRecord | None] = ContextVar("scene_pipeline_scene_record", default=None)


@contextmanager
def stage(name: StageName, **facts: FactValue) -> Iterator[StageRecord]:
    """Log, time and trace one stage of the work that is under way here.

    Args:
        name: Which.
        **facts: What is known at its begin; by the names of `telemetry.facts`. Never a prompt or an
            address.

    Yields:
        The record that further facts are noted on.
    """
    record = StageRecord(facts)
    span = _begin(name, record)
    token = span.activate() if span else None
    scene = _scene.get()
    if scene is not None:
        scene.note(**{key: facts[key] for key in _COUNTED_BY if key in facts})
    _move_in_flight(name, record, 1)
    began = time.perf_counter()
    code: str | None = None
    try:
        yield record
    except BaseException as error:
        code = code_of(error)
        raise
    finally:
        seconds = time.perf_counter() - began
        _move_in_flight(name, record, -1)
        if span:
            span.deactivate(token)
            span.end(record.facts, code)
        _tell_stage(name, record, seconds, code)


def code_of(error: BaseException) -> str:
    """An error's code; the name of its class where it is none of ours."""
    if isinstance(error, ScenePipelineError):
        return error.error_code
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit):
        return CANCELLED
    return type(error).__name__


def current_scene() -> StageRecord | None:
    """The record of the scene that is worked on here."""
    return _scene.get()


@contextmanager
def scene_record(project: str, scene: str) -> Iterator[StageRecord]:
    """Put a scene on every line and span of the block, which is a span itself.

    Yields:
        The scene's record; whoever knows how it ended notes `status`, `code`, `cost_usd`,
        `cost_kind`, `version`.
    """
    with log_context(project=project, scene=scene):
        record = StageRecord({})
        span = _begin("scene", record)
        token = span.activate() if span else None
        scene_token = _scene.set(record)
        try:
            yield record
        except BaseException as error:
            record.note(code=code_of(error))
            raise
        finally:
            _scene.reset(scene_token)
            if span:
                span.deactivate(token)
                code = record.facts.get("code")
                span.end(record.facts, None if code is None else str(code))
            _count_scene(record)


@contextmanager
def generation_record(generation_id: str) -> Iterator[None]:
    """Put a generation on every line and span of the block, and on the scene's own at its end."""
    scene = _scene.get()
    if scene is not None:
        scene.note(generation=generation_id)
    with log_context(generation=generation_id):
        yield


class RunRecord:
    """A run: the root of its trace. Activated by each task that works for it.

    May be held across the `yield` of an asynchronous generator: it sets nothing by itself.
    """

    def __init__(self, run_id: str, scenes: int) -> None:
        self._run_id = run_id
        self._record = StageRecord({"run": run_id, "scenes": scenes})
        self._span: Span | None = None

    def __enter__(self) -> Self:
        sink = current_sink()
        if sink is not None:
            self._span = sink.begin("run", self._record.facts, run_id=self._run_id)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._span:
            self._span.end({}, None if exc is None else code_of(exc))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Put the run on every line and span of the block, and of the tasks created in it."""
        with log_context(run=self._run_id):
            token = self._span.activate() if self._span else None
            try:
                yield
            finally:
                if self._span:
                    self._span.deactivate(token)


def _begin(name: str, record: StageRecord) -> Span | None:
    sink = current_sink()
    if sink is None:
        return None
    about = current_context()
    known = {
        "project": about.project,
        "scene": about.scene,
        "generation": about.generation,
        "run": about.run,
    }
    return sink.begin(
        name, record.facts | {key: value for key, value in known.items() if value is not None}
    )


def _tell_stage(name: StageName, record: StageRecord, seconds: float, code: str | None) -> None:
    if _log.isEnabledFor(logging.INFO):
        told = {"stage": name, "seconds": round(seconds, 4), **record.facts}
        if code is not None:
            told["code"] = code
        _log.info("%s %s", name, "done" if code is None else "failed", extra={FACTS: told})
    sink = current_sink()
    if sink is None:
        return
    failed = {} if code is None else {"code": code}
    sink.record(STAGE_SECONDS, seconds, {"stage": name, **_kinds_of(record), **failed})
    stored = record.facts.get("bytes")
    if name == "upload" and code is None and isinstance(stored, int):
        sink.add(BYTES_STORED, stored, {})


def _move_in_flight(name: StageName, record: StageRecord, by: int) -> None:
    """A request is at its provider for as long as it is polled."""
    sink = current_sink()
    if sink is not None and name == "poll":
        sink.add(IN_FLIGHT, by, _kinds_of(record))


def _count_scene(record: StageRecord) -> None:
    sink = current_sink()
    facts = record.facts
    if sink is None or "status" not in facts:
        return
    kinds = _kinds_of(record)
    sink.add(FRAMES, 1, {"status": facts["status"], **kinds})
    cost = facts.get("cost_usd")
    if isinstance(cost, float) and cost > 0:
        kind = facts.get("cost_kind", "estimated")
        sink.add(COST_USD, cost, {"cost_kind": kind, **kinds})
    if "code" in facts:
        sink.add(FAILURES, 1, {"code": facts["code"]})


def _kinds_of(record: StageRecord) -> dict[str, FactValue]:
    """What is counted apart; never a project or scene, of which there is no end."""
    return {name: record.facts[name] for name in _COUNTED_BY if name in record.facts}
