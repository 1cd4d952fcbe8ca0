"""What a run tells in the log, and how each scene ended in traces and metrics.

Belongs here: translating the stream's events, in one place. Does not belong here: how long stages
take (`telemetry.stages`), events for people and programs (`pipeline_events`).
"""

import logging
from collections.abc import Awaitable, Callable

from scene_pipeline.pipeline.orders import (
    UNFINISHED,
    SceneChecked,
    SceneOutcome,
    SceneProgress,
    StageDone,
    StreamEvent,
)
from scene_pipeline.telemetry.facts import FactValue
from scene_pipeline.telemetry.lines import FACTS
from scene_pipeline.telemetry.stages import StageRecord, current_scene

_log = logging.getLogger(__name__)

Emit = Callable[[StreamEvent], Awaitable[None]]


def narrated(emit: Emit) -> Emit:
    """Tell every event to the log, in the task of the scene that it is about, then pass it on."""

    async def narrate_and_emit(event: StreamEvent) -> None:
        _narrate(event)
        await emit(event)

    return narrate_and_emit


def _narrate(event: StreamEvent) -> None:
    match event:
        case SceneProgress():
            _log.info("%s: %s", event.kind, event.text)
        case StageDone():
            _tell_stage(event)
        case SceneChecked():
            _tell_checks(event)
        case SceneOutcome():
            _tell_outcome(event)


def _tell_stage(event: StageDone) -> None:
    facts: dict[str, FactValue] = {}
    if event.frame is not None:
        facts |= {"version": event.frame.version, "generation": event.frame.generation_id}
    _log.info("%s %s", event.stage, "kept" if event.is_kept else "done", extra={FACTS: facts})


def _tell_checks(event: SceneChecked) -> None:
    for verdict in event.verdicts:
        if not verdict.passed:
            _log.info("check %s failed: %s", verdict.name, verdict.words)


def _tell_outcome(event: SceneOutcome) -> None:
    record = current_scene() or StageRecord({})
    record.note(status=event.status, cost_usd=float(event.cost_usd))
    frame, failure = event.frame, event.failure
    if frame is not None and event.status in ("generated", "kept"):
        record.note(version=frame.version, provider=frame.provider, model=frame.model)
        record.note(cost_kind=frame.cost_kind, generation=frame.generation_id)
    if failure is not None and event.status in UNFINISHED:
        record.note(code=failure.code)
    words = "" if failure is None else f": [{failure.code}] {failure.message}"
    _log.info("scene %s%s", event.status, words, extra={FACTS: dict(record.facts)})
