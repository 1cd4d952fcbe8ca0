"""What is asked for is made."""

import dagster as dg

from scene_pipeline.defs.environment import settings_at_load
from scene_pipeline.defs.jobs import frames_job
from scene_pipeline.defs.resources import PipelineRuntime


@dg.sensor(
    job=frames_job,
    minimum_interval_seconds=settings_at_load().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes the new versions that were asked for: launches `frames` for rows of the table"
        " `regeneration_requests`, whoever wrote them, a command or another program with SQL. Asked"
        " five times while it waits is one version. What cannot be made (unknown or locked scenes,"
        " wishes that make no sense) is refused with its reason. SPENDS MONEY, under the caps of"
        " project and day."
    ),
)
def regeneration_requests(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.SensorResult | dg.SkipReason:
    """Launch `frames` for scenes of which a new version was asked for."""
    from scene_pipeline.defs.launch_requests import launch_due  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.due.requests import requests  # noqa: PLC0415

    return launch_due(
        context.instance,
        pipeline,
        ("regeneration_requests",),
        lambda conn, _settings, _fates: requests(conn),
    )
