"""Storyboards follow their frames, and whatever else stands on their pages."""

import dagster as dg

from scene_pipeline.defs.active_runs import ACTIVE_STATUSES
from scene_pipeline.defs.jobs import storyboard_job
from scene_pipeline.defs.metadata import PROJECT_TAG, SHEET_TAG, reason_tag
from scene_pipeline.defs.partitions import projects
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.scenes.identity import project_partition_key

_PROJECTS_PER_TICK = 50
_ATTEMPTS_PER_SHEET = 3


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
    stale = pipeline.stale_storyboards(_PROJECTS_PER_TICK)
    if not stale:
        return dg.SkipReason("Every storyboard shows how its project stands.")
    requests = [
        request
        for project_key, fingerprint in stale
        if (request := _sheet_request(context.instance, project_key, fingerprint)) is not None
    ]
    if not requests:
        return dg.SkipReason(
            f"{len(stale)} storyboards are stale; each is being made, waits for the end of a "
            f"run on its project, or has failed {_ATTEMPTS_PER_SHEET} times."
        )
    keys = [request.partition_key for request in requests if request.partition_key]
    return dg.SensorResult(
        run_requests=requests, dynamic_partitions_requests=[projects.build_add_request(keys)]
    )


def _sheet_request(
    instance: dg.DagsterInstance, project_key: str, fingerprint: str
) -> dg.RunRequest | None:
    """A run of the sheet, unless one is under way, work goes on, or it failed too often.

    Dagster never launches the same `run_key` twice, not even after a failure: it carries the
    attempt.
    """
    if _has_runs(instance, {PROJECT_TAG: project_key}, ACTIVE_STATUSES):
        return None
    failed = instance.get_runs_count(
        dg.RunsFilter(
            tags={PROJECT_TAG: project_key, SHEET_TAG: fingerprint},
            statuses=[dg.DagsterRunStatus.FAILURE],
        )
    )
    if failed >= _ATTEMPTS_PER_SHEET:
        return None
    return dg.RunRequest(
        run_key=f"storyboard:{project_key}:{fingerprint}:{failed + 1}",
        partition_key=project_partition_key(project_key),
        tags={
            PROJECT_TAG: project_key,
            SHEET_TAG: fingerprint,
            **reason_tag("frames changed since the last sheet"),
        },
    )


def _has_runs(
    instance: dg.DagsterInstance, tags: dict[str, str], statuses: list[dg.DagsterRunStatus]
) -> bool:
    return bool(instance.get_run_ids(dg.RunsFilter(tags=tags, statuses=statuses), limit=1))
