"""Documents that other programs leave in the inbox are imported, and written back with frames."""

import dagster as dg

from scene_pipeline.defs.environment import settings_at_load
from scene_pipeline.defs.jobs import frames_job
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.errors import ScenePipelineError

_FOLDER_SECONDS = 5
_BUCKET_SECONDS = 30
"""Listing a bucket is a paid request, about half a dollar a month at this pace."""


def _interval_seconds() -> int:
    """How often the inbox is looked at; read once, when the code location is loaded."""
    inbox = settings_at_load().inbox
    return _BUCKET_SECONDS if inbox is None or inbox.startswith("s3://") else _FOLDER_SECONDS


@dg.sensor(
    # It launches nothing; the job is named because a sensor without one has no place in the UI.
    job=frames_job,
    minimum_interval_seconds=_interval_seconds(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Imports new and changed master JSON files of the inbox (SCENE_PIPELINE_INBOX), and writes"
        " the updated document beside NAME.json as NAME.frames.json, never over it. A file that"
        " cannot be used is told of once, with all its problems, and stops no other. Spends"
        " nothing: the frames that are missing then are made by `scene_changes`, under the caps."
    ),
)
def master_json_inbox(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.SkipReason:
    """Look at the inbox once; what happened is in the tick's log."""
    try:
        report = pipeline.watch_inbox()
    except ScenePipelineError as error:
        raise dg.Failure(str(error)) from error
    if report is None:
        return dg.SkipReason("No inbox is watched: SCENE_PIPELINE_INBOX is not set.")
    for line in report.lines:
        context.log.info(line)
    return dg.SkipReason(report.summary)
