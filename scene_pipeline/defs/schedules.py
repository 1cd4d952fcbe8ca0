"""What happens at fixed times: all of it visible and switchable in the UI.

Belongs here: when. Does not belong here: what is done (`pipeline`, by the jobs of `defs.upkeep`).

Times are UTC. A schedule whose last run is still at work leaves it at that.
"""

import dagster as dg

from scene_pipeline.defs.active_runs import has_active_run
from scene_pipeline.defs.sweeping import upload_sweep_job
from scene_pipeline.defs.upkeep import (
    archive_job,
    collection_job,
    price_refresh_job,
    reconcile_job,
)
from scene_pipeline.settings import load_settings

_TIMEZONE = "UTC"
_RUNNING = dg.DefaultScheduleStatus.RUNNING


@dg.schedule(
    job=reconcile_job,
    name="reconcile_hourly",
    cron_schedule="7 * * * *",
    execution_timezone=_TIMEZONE,
    default_status=_RUNNING,
    description=(
        "Every hour: compares documents, rows and objects, and repairs what disagrees, so that no "
        "URL in a document dies. SCENE_PIPELINE_RECONCILE_APPLY=false lets it only tell. Spends "
        "nothing."
    ),
)
def reconcile_hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Compare and repair."""
    return _unless_at_work(context, reconcile_job)


@dg.schedule(
    job=collection_job,
    name="collection_nightly",
    cron_schedule="30 3 * * *",
    execution_timezone=_TIMEZONE,
    default_status=_RUNNING,
    description=(
        "Every night: tells which old versions and leftovers could go; removes them where "
        "SCENE_PIPELINE_COLLECT_APPLY=true. What is in use is never touched. Spends nothing."
    ),
)
def collection_nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Retention and collection."""
    return _unless_at_work(context, collection_job)


@dg.schedule(
    job=archive_job,
    name="archive_nightly",
    cron_schedule="50 3 * * *",
    execution_timezone=_TIMEZONE,
    default_status=_RUNNING,
    description=(
        "Every night: takes archived projects out of Dagster's lists of partitions. Their frames, "
        "versions and documents stay. Spends nothing."
    ),
)
def archive_nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Partition keys of archived projects."""
    return _unless_at_work(context, archive_job)


@dg.schedule(
    job=upload_sweep_job,
    name="upload_sweep_nightly",
    cron_schedule="20 4 * * *",
    execution_timezone=_TIMEZONE,
    default_status=_RUNNING,
    description=(
        "Every night: gives up uploads that were permitted a day ago and never confirmed, and "
        "removes what arrived of them. Spends nothing."
    ),
)
def upload_sweep_nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Uploads that nobody confirmed."""
    return _unless_at_work(context, upload_sweep_job)


@dg.schedule(
    job=price_refresh_job,
    name="price_refresh_daily",
    cron_schedule="10 4 * * *",
    execution_timezone=_TIMEZONE,
    default_status=_RUNNING,
    description=(
        "Every day, where FAL_KEY is set: asks Fal what its models cost now, which estimates and "
        "caps rely on. Asking is free of charge."
    ),
)
def price_refresh_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Prices, where there is a key to ask with."""
    if not load_settings().fal_key:
        return dg.SkipReason("FAL_KEY is not set, so there is nobody to ask for prices.")
    return _unless_at_work(context, price_refresh_job)


def _unless_at_work(
    context: dg.ScheduleEvaluationContext, job: dg.JobDefinition
) -> dg.RunRequest | dg.SkipReason:
    if has_active_run(context.instance, job.name):
        return dg.SkipReason(f"A run of {job.name} is still at work, or waits for its turn.")
    return dg.RunRequest()


SCHEDULES: tuple[dg.ScheduleDefinition, ...] = (
    reconcile_hourly,
    collection_nightly,
    archive_nightly,
    upload_sweep_nightly,
    price_refresh_daily,
)
"""All schedules of the code location."""
