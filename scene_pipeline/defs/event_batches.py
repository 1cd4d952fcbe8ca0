"""Writing materializations in batches; the one module that imports from `dagster._core`.

Belongs here: how events reach the event log. Does not belong here: what they say (`metadata`).

Written one by one, a materialization costs 8 to 24 ms on PostgreSQL, most of it two new
connections; in batches 0.5 ms. Dagster batches its own events by `DagsterEventBatchMetadata` but
offers no public way to do the same for events that an op yields, hence the private import.
Where batching is off (`DAGSTER_EVENT_BATCH_SIZE=0`) the same events are yielded one by one; a test
compares the rows that both ways write.

Four rules, each with its reason:

- One batch holds one asset's events. The PostgreSQL store updates an asset's summary row from the
  last event of a batch only, so a mixed batch would leave the other assets "never materialized".
- Results of checks are batched where our own event log is in use (`event_storage`): Dagster's
  writes them one by one, at 3 ms and more each, seven to a scene.
- Planned events stay one per partition (`DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS` is not
  set): thinned out, the scenes of a failed run would not be marked failed.
- A batch is closed before the op raises: what is not written by then is never written.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator

import dagster as dg
from dagster._core.events import DagsterEventBatchMetadata

from scene_pipeline.defs.event_storage import KeptPostgresEventLog

BATCH_SIZE_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
DEFAULT_BATCH_SIZE = 500
WINDOW_SECONDS = 0.2
"""How long the first event of a batch may wait: unnoticed by people, and room for many others."""

AssetEvent = dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.DagsterEvent


def enable_event_batches() -> None:
    """Let this process write events in batches unless its environment says otherwise.

    Dagster reads the variable at every event. A process that creates runs batches its planned
    events by it too.
    """
    os.environ.setdefault(BATCH_SIZE_VARIABLE, str(DEFAULT_BATCH_SIZE))


def is_batching_enabled() -> bool:
    """Whether Dagster holds back events that carry a batch's id."""
    return int(os.environ.get(BATCH_SIZE_VARIABLE, "0")) > 0


class EventBatches:
    """Gathers materializations and results of checks for a short window, then writes them together.

    Args:
        context: The running step's.
        window_seconds: The longest that an event waits.
        max_events: A batch is due at this size whatever its age: bounds memory.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        *,
        window_seconds: float = WINDOW_SECONDS,
        max_events: int = DEFAULT_BATCH_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._step_context = context.get_step_execution_context()
        self._window_seconds = window_seconds
        self._max_events = max_events
        self._clock = clock
        self._pending: list[dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
        self._batches_results = isinstance(context.instance.event_log_storage, KeptPostgresEventLog)
        self._oldest_at = 0.0

    def add(self, event: dg.AssetMaterialization | dg.AssetCheckEvaluation) -> None:
        """Take one event; it is written by the `flush` that comes when `is_due`."""
        if not self._pending:
            self._oldest_at = self._clock()
        self._pending.append(event)

    @property
    def is_due(self) -> bool:
        """Whether the window has passed or the batch is full."""
        if not self._pending:
            return False
        is_old = self._clock() - self._oldest_at >= self._window_seconds
        return is_old or len(self._pending) >= self._max_events

    def flush(self) -> Iterator[AssetEvent]:
        """Write everything that waits; the op yields what this yields.

        In batch mode an event is written by the time it is yielded, so a consumer that must not
        yield any more may simply exhaust the iterator. One by one, it is written by being yielded.
        """
        pending, self._pending = self._pending, []
        if not is_batching_enabled():
            yield from pending
            return
        by_asset: dict[dg.AssetKey, list[dg.AssetMaterialization]] = {}
        results: list[dg.AssetCheckEvaluation] = []
        for event in pending:
            if isinstance(event, dg.AssetMaterialization):
                by_asset.setdefault(event.asset_key, []).append(event)
            else:
                results.append(event)
        for materializations in by_asset.values():
            yield from self._write(materializations)
        # Last, so that a result never stands before the materialization that it is about.
        yield from self._write_results(results) if self._batches_results else results

    def _write_results(self, results: list[dg.AssetCheckEvaluation]) -> list[dg.DagsterEvent]:
        batch_id = str(uuid.uuid4())
        last = len(results) - 1
        return [
            dg.DagsterEvent.from_step(
                dg.DagsterEventType.ASSET_CHECK_EVALUATION,
                self._step_context,
                result,
                _words(result),
                DagsterEventBatchMetadata(batch_id, is_end=index == last),
            )
            for index, result in enumerate(results)
        ]

    def _write(self, materializations: list[dg.AssetMaterialization]) -> list[dg.DagsterEvent]:
        batch_id = str(uuid.uuid4())
        last = len(materializations) - 1
        return [
            dg.DagsterEvent.asset_materialization(
                self._step_context,
                materialization,
                DagsterEventBatchMetadata(batch_id, is_end=index == last),
            )
            for index, materialization in enumerate(materializations)
        ]


def _words(result: dg.AssetCheckEvaluation) -> str:
    """As Dagster says it of a result that is written by itself."""
    where = result.asset_key.to_user_string()
    outcome = "passed." if result.passed else "did not pass."
    why = "" if result.description is None else f" Description: '{result.description}'"
    return f"Asset check '{result.check_name}' on '{where}' {outcome}{why}"
