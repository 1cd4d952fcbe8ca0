"""Which runs are under way."""

from collections.abc import Sequence
from typing import Final

import dagster as dg

MAX_RUNS: Final = 2000
"""That are looked at one by one."""

SUBMITTED_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Of a run that Dagster carries out by itself from here on."""
ACTIVE_STATUSES = [dg.DagsterRunStatus.NOT_STARTED, *SUBMITTED_STATUSES]
"""Of a run that has not ended, also one that was created and not submitted yet."""


def runs_with_status(
    instance: dg.DagsterInstance, statuses: list[dg.DagsterRunStatus]
) -> Sequence[dg.DagsterRun] | None:
    """All runs of these statuses; None where they are too many to look at."""
    runs = instance.get_runs(dg.RunsFilter(statuses=statuses), limit=MAX_RUNS)
    return None if len(runs) == MAX_RUNS else runs


def has_active_run(instance: dg.DagsterInstance, job_name: str) -> bool:
    """Whether a run of the job is waiting or at work."""
    active = dg.RunsFilter(job_name=job_name, statuses=ACTIVE_STATUSES)
    return bool(instance.get_run_ids(active, limit=1))
