"""Whether runs are under way."""

import dagster as dg

SUBMITTED_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Of a run that Dagster carries out by itself from here on."""
ACTIVE_STATUSES = [dg.DagsterRunStatus.NOT_STARTED, *SUBMITTED_STATUSES]
"""Of a run that has not ended, also one that was created and not submitted yet."""


def has_active_run(instance: dg.DagsterInstance, job_name: str) -> bool:
    """Whether a run of the job is waiting or at work."""
    active = dg.RunsFilter(job_name=job_name, statuses=ACTIVE_STATUSES)
    return bool(instance.get_run_ids(active, limit=1))
