"""What happens at fixed times: all of it visible and switchable in the UI.

Belongs here: when. Does not belong here: what is done (`pipeline`, by the jobs of `defs.upkeep`).

Times are UTC. A schedule whose last run is still at work leaves it at that.
"""

from collections.abc import Callable
from typing import Protocol

import dagster as dg

from scene_pipeline.defs.active_runs import has_active_run
from scene_pipeline.defs.reports import portfolio_job
from scene_pipeline.defs.sweeping import upload_sweep_job
from scene_pipeline.defs.truth_sweep import switched_off, truth_sweep_job
from scene_pipeline.defs.upkeep import archive_job, collection_job, price_refresh_job, reconcile_job
from scene_pipeline.settings import load_settings

_TIMEZONE = "UTC"


class _Job(Protocol):
    """A job of ops, or one of assets: Dagster has no public name for both."""

    @property
    def name(self) -> str:
        """Of the job."""


def _at_fixed_times(
    job: _Job,
    name: str,
    cron: str,
    description: str,
    why_not: Callable[[], str | None] = lambda: None,
) -> dg.ScheduleDefinition:
    """A schedule that launches a job unless a run of it is at work, or `why_not` says otherwise."""

    @dg.schedule(
        job_name=job.name,
        name=name,
        cron_schedule=cron,
        execution_timezone=_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def launch(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = why_not()
        if reason is None and has_active_run(context.instance, job.name):
            reason = f"A run of {job.name} is still at work, or waits for its turn."
        return dg.RunRequest() if reason is None else dg.SkipReason(reason)

    return launch


def _without_a_key() -> str | None:
    if load_settings().fal_key:
        return None
    return "FAL_KEY is not set, so there is nobody to ask for prices."


reconcile_hourly = _at_fixed_times(
    reconcile_job,
    "reconcile_hourly",
    "7 * * * *",
    "Every hour: compares documents, rows and objects, and repairs what disagrees, so that no "
    "URL in a document dies. SCENE_PIPELINE_RECONCILE_APPLY=false lets it only tell. Spends "
    "nothing.",
)
collection_nightly = _at_fixed_times(
    collection_job,
    "collection_nightly",
    "30 3 * * *",
    "Every night: tells which old versions and leftovers could go; removes them where "
    "SCENE_PIPELINE_COLLECT_APPLY=true. What is in use is never touched. Spends nothing.",
)
archive_nightly = _at_fixed_times(
    archive_job,
    "archive_nightly",
    "50 3 * * *",
    "Every night: takes archived projects out of Dagster's lists of partitions. Their frames, "
    "versions and documents stay. Spends nothing.",
)
upload_sweep_nightly = _at_fixed_times(
    upload_sweep_job,
    "upload_sweep_nightly",
    "20 4 * * *",
    "Every night: gives up uploads that were permitted a day ago and never confirmed, and "
    "removes what arrived of them. Spends nothing.",
)
price_refresh_daily = _at_fixed_times(
    price_refresh_job,
    "price_refresh_daily",
    "10 4 * * *",
    "Every day, where FAL_KEY is set: asks Fal what its models cost now, which estimates and "
    "caps rely on. Asking is free of charge.",
    _without_a_key,
)
portfolio_report_daily = _at_fixed_times(
    portfolio_job,
    "portfolio_report_daily",
    "40 4 * * *",
    "Every day: adds up what all projects took, with a chart of the last 60 days, for whoever "
    "answers for the money. Spends nothing.",
)
truth_sweep_hourly = _at_fixed_times(
    truth_sweep_job,
    "truth_sweep_hourly",
    "37 * * * *",
    "Every hour: asks current URLs whether they still serve the stored bytes, those first that "
    "were not asked for longest, at most SCENE_PIPELINE_TRUTH_SWEEP_REQUESTS (200) of them. "
    "Spends nothing.",
    switched_off,
)

SCHEDULES: tuple[dg.ScheduleDefinition, ...] = (
    reconcile_hourly,
    collection_nightly,
    archive_nightly,
    upload_sweep_nightly,
    price_refresh_daily,
    portfolio_report_daily,
    truth_sweep_hourly,
)
"""All schedules of the code location."""
