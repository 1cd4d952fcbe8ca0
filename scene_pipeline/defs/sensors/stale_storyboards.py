"""Storyboards follow their frames, and whatever else stands on their pages."""

import time
from datetime import datetime
from functools import partial
from typing import Final

import dagster as dg

from scene_pipeline.defs.active_runs import ACTIVE_STATUSES
from scene_pipeline.defs.frame_runs import projects_with_frame_runs
from scene_pipeline.defs.jobs import storyboard_job
from scene_pipeline.defs.metadata import PROJECT_TAG, SHEET_TAG, reason_tag
from scene_pipeline.defs.partitions import projects
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.scenes.identity import project_partition_key

_PROJECTS_PER_TICK = 50
_ATTEMPTS_AT_ONCE = 3
_ENDED_STATUSES = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
FIRST_PAUSE_SECONDS: Final = 15 * 60
"""After as many runs without avail as are tried at once; twice as long after each further one."""
LONGEST_PAUSE_SECONDS: Final = 24 * 3600
"""So that what cannot be shown costs one run a day, and an outage of whatever length passes."""


@dg.sensor(
    job=storyboard_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes a project's storyboard again (contact sheet, page, start_frames.json) once its "
        "frames, prompts, failures or costs have changed and no run is on them: once per burst, "
        "not once per frame. It spends nothing."
    ),
)
def stale_storyboards(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.SensorResult | dg.SkipReason:
    """Launches `storyboards` for projects whose newest one no longer says how they stand."""
    from scene_pipeline.database.storyboards import newest_told  # noqa: PLC0415  # psycopg

    stale = pipeline.stale_storyboards(_PROJECTS_PER_TICK)
    if not stale:
        return dg.SkipReason("Every storyboard shows how its project stands.")
    told = pipeline.in_database(partial(newest_told, project_keys=[key for key, _ in stale]))
    busy = projects_with_frame_runs(context.instance, ACTIVE_STATUSES)
    free = [one for one in stale if busy is not None and one[0] not in busy]
    found = [
        _sheet_request(context.instance, project_key, fingerprint, told.get(project_key))
        for project_key, fingerprint in free
    ]
    requests = [request for request in found if request is not None]
    if not requests:
        return dg.SkipReason(
            f"{len(stale)} storyboards are stale; each is being made, waits for the end of a "
            f"run on its project, or was tried {_ATTEMPTS_AT_ONCE} times without avail and is "
            "tried again later."
        )
    keys = [request.partition_key for request in requests if request.partition_key]
    return dg.SensorResult(
        run_requests=requests, dynamic_partitions_requests=[projects.build_add_request(keys)]
    )


def _sheet_request(
    instance: dg.DagsterInstance, project_key: str, fingerprint: str, told_at: datetime | None
) -> dg.RunRequest | None:
    """A run of the sheet, unless one is under way, work goes on, or it was of no avail just now.

    Dagster never launches the same `run_key` twice, however the run ended: it carries the run
    before it, since frames that were changed back have the fingerprint that they once had.
    """
    under_way = dg.RunsFilter(tags={PROJECT_TAG: project_key}, statuses=ACTIVE_STATUSES)
    if instance.get_run_ids(under_way, limit=1):
        return None
    made_for = {PROJECT_TAG: project_key, SHEET_TAG: fingerprint}
    if _is_paused(instance, made_for, told_at):
        return None
    before = instance.get_run_ids(dg.RunsFilter(tags=made_for), limit=1)
    return dg.RunRequest(
        run_key=":".join(["storyboard", project_key, fingerprint, *before]),
        partition_key=project_partition_key(project_key),
        tags={**made_for, **reason_tag("frames changed since the last sheet")},
    )


def _is_paused(
    instance: dg.DagsterInstance, made_for: dict[str, str], told_at: datetime | None
) -> bool:
    """Whether the sheet was tried so often, and so short a time ago, that it has to wait.

    However a run ended: since the newest sheet that was told it was of no avail, or nobody would
    ask for another. Before that, frames that were changed back may have had theirs.
    """
    ended = dg.RunsFilter(tags=made_for, statuses=_ENDED_STATUSES, updated_after=told_at)
    tried = instance.get_runs_count(ended)
    newest = instance.get_run_records(ended, limit=1)
    if tried < _ATTEMPTS_AT_ONCE or not newest:
        return False
    doubled = FIRST_PAUSE_SECONDS << min(tried - _ATTEMPTS_AT_ONCE, 16)
    pause = min(doubled, LONGEST_PAUSE_SECONDS)
    return time.time() < newest[0].update_timestamp.timestamp() + pause
