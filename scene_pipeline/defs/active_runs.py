"""Whether runs of a job are under way."""

import dagster as dg

ACTIVE_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Of a run that has not ended."""


def has_active_run(instance: dg.DagsterInstance, job_name: str) -> bool:
    """Whether a run of the job is waiting or at work."""
    active = dg.RunsFilter(job_name=job_name, statuses=ACTIVE_STATUSES)
    return bool(instance.get_run_ids(active, limit=1))
