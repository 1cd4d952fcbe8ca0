"""Writing materializations in batches; the one module that imports from `dagster._core`.

Belongs here: how events reach the event log. Does not belong here: what they say (`metadata`).

Written one by one, a materialization costs 8 to 24 ms on PostgreSQL, most of it two new
connections; in batches 0.5 ms. Dagster batches its own events by `DagsterEventBatchMetadata` but
offers no public way to do the same for events that an op yields, hence the private import.
Where batching is off (`DAGSTER_EVENT_BATCH_SIZE=0`) the same events are yielded one by one; a test
compares the rows that both ways write.

Five rules, each with its reason:

- One batch holds one asset's events. The PostgreSQL store updates an asset's summary row from the
  last event of a batch only, so a mixed batch would leave the other assets "never materialized".
- Results of checks are batched where our own event log is in use (`event_storage`): Dagster's
  writes them one by one, at 3 ms and more each, seven to a scene.
- A result of a check names the materialization that it is about: without it the UI takes the result
  for one of an older materialization, and lists the scene's check as missing.
- Planned events stay one per partition (`DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS` is not
  set): thinned out, the scenes of a failed run would not be marked failed.
- A batch is closed before the op raises: what is not written by then is never written.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.events import DagsterEventBatchMetadata

from scene_pipeline.defs.event_storage import KeptPostgresEventLog
from scene_pipeline.defs.newest_events import newest_materializations

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


def about_the_newest(
    instance: dg.DagsterInstance, results: Iterable[dg.AssetCheckEvaluation]
) -> list[dg.AssetCheckEvaluation]:
    """Let results of checks name the newest materialization of their scene.

    Args:
        instance: Whose event log holds the materializations.
        results: Of partitioned checks.

    Returns:
        The same results in the same order; one whose scene was never materialized stays as it is.
    """
    told = list(results)
    newest: dict[tuple[dg.AssetKey, str], AssetCheckEvaluationTargetMaterializationData] = {}
    for asset_key in {result.asset_key for result in told}:
        keys = {r.partition for r in told if r.asset_key == asset_key and r.partition is not None}
        for found in newest_materializations(instance, asset_key, keys):
            newest[asset_key, found.partition] = AssetCheckEvaluationTargetMaterializationData(
                storage_id=found.storage_id, run_id=found.run_id, timestamp=found.timestamp
            )
    return [
        result
        if result.partition is None or (result.asset_key, result.partition) not in newest
        else _aimed(result, newest[result.asset_key, result.partition])
        for result in told
    ]


def _aimed(
    result: dg.AssetCheckEvaluation, target: AssetCheckEvaluationTargetMaterializationData
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
        blocking=result.blocking,
        partition=result.partition,
        target_materialization_data=target,
    )


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
        self._instance = context.instance
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
        by_asset: dict[dg.AssetKey, list[dg.AssetMaterialization]] = {}
        results: list[dg.AssetCheckEvaluation] = []
        for event in pending:
            if isinstance(event, dg.AssetMaterialization):
                by_asset.setdefault(event.asset_key, []).append(event)
            else:
                results.append(event)
        for materializations in by_asset.values():
            yield from self._write(materializations) if is_batching_enabled() else materializations
        # Last: the materialization that a result is about has to be written before it.
        about = about_the_newest(self._instance, results)
        is_batched = is_batching_enabled() and self._batches_results
        yield from self._write_results(about) if is_batched else about

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
