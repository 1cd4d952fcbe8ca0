"""What was begun is finished."""

import dagster as dg

from scene_pipeline.defs.environment import settings_at_load
from scene_pipeline.defs.jobs import frames_job
from scene_pipeline.defs.resources import PipelineRuntime

_LONGEST_INTERVAL_SECONDS = 10
"""What is paid for and lies at the provider expires: it is never left longer than this."""


@dg.sensor(
    job=frames_job,
    minimum_interval_seconds=min(
        settings_at_load().sensor_interval_seconds, _LONGEST_INTERVAL_SECONDS
    ),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Finishes what a dead or failed run left open: launches `frames` for it. A picture that is"
        " paid for is fetched, stored and published; a payment whose answer was lost is cleared up;"
        " what waited for a budget or a key is tried again. What somebody works on is left alone."
        " CAN SPEND MONEY, under the caps of project and day, but buys nothing twice."
    ),
)
def unfinished_generations(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.SensorResult | dg.SkipReason:
    """Launch `frames` for scenes with a generation that nobody finishes."""
    from scene_pipeline.defs.launch_requests import launch_due  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.due.generations import unfinished  # noqa: PLC0415

    return launch_due(
        context.instance,
        pipeline,
        ("unfinished_generations",),
        unfinished,
    )
