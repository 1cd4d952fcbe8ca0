"""Ending a run at once when its backfill is cancelled.

Dagster's daemon looks at backfills every half minute, and only then stops their runs. Until then a
run would go on buying what nobody wants any more.
"""

import time

import dagster as dg

_BACKFILL_TAG = "dagster/backfill"
_INTERVAL_SECONDS = 2.0
_LARGEST_SHARE = 0.05
"""Of the run's time for asking: the row of a large backfill holds every key of it."""
_CANCELLED = frozenset({"CANCELING", "CANCELED"})


class BackfillWatch:
    """Looks now and then whether the backfill of a run was cancelled.

    Args:
        instance: Where the backfill is kept.
        run: What may be one of its runs; one without a backfill asks nothing.
    """

    def __init__(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
        self._instance = instance
        self._run = run
        self._backfill_id = run.tags.get(_BACKFILL_TAG)
        self._next_at = time.monotonic()

    def raise_if_cancelled(self) -> None:
        """End the run where nobody wants the rest any more; asks every other second at most.

        Raises:
            DagsterExecutionInterruptedError: Its backfill was cancelled; the run is told to be
                cancelling, since Dagster takes an interrupt that nobody announced for a crash.
        """
        if time.monotonic() < self._next_at or not self._is_cancelled():
            return
        reason = "The backfill was cancelled."
        self._instance.report_run_canceling(self._run, reason)
        raise dg.DagsterExecutionInterruptedError(reason)

    def _is_cancelled(self) -> bool:
        if self._backfill_id is None:
            return False
        begun_at = time.monotonic()
        backfill = self._instance.get_backfill(self._backfill_id)
        ended_at = time.monotonic()
        self._next_at = ended_at + max(_INTERVAL_SECONDS, (ended_at - begun_at) / _LARGEST_SHARE)
        return backfill is not None and backfill.status.value in _CANCELLED
