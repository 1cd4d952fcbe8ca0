"""New and changed scenes get their frames."""

import dagster as dg

from scene_pipeline.defs.environment import settings_at_load
from scene_pipeline.defs.jobs import frames_job
from scene_pipeline.defs.resources import PipelineRuntime


@dg.sensor(
    job=frames_job,
    minimum_interval_seconds=settings_at_load().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes the frames of new scenes: watches the documents of all projects and launches"
        " `frames`. A removed scene is retired; one that lost its frame's address gets it back. An"
        " edited scene keeps its frame and becomes stale; it is bought again by itself only in"
        " projects with `auto_refresh`, once it was left alone for a while. What Scene Pipeline"
        " writes into documents itself starts nothing. CAN SPEND MONEY, under the caps of project"
        " and day."
    ),
)
def scene_changes(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.SensorResult | dg.SkipReason:
    """Launch `frames` for scenes that are due because their document changed."""
    from scene_pipeline.defs.launch_requests import launch_due  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.due.changes import changes  # noqa: PLC0415

    return launch_due(
        context.instance,
        pipeline,
        ("scene_changes", "auto_refresh", "command"),
        lambda conn, settings, _: changes(conn, settings),
    )
