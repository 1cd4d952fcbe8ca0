"""What is asked to come into the library is brought in."""

import dagster as dg

from scene_pipeline.defs.environment import settings_at_load
from scene_pipeline.defs.jobs import imports_job
from scene_pipeline.defs.resources import PipelineRuntime


@dg.sensor(
    job=imports_job,
    minimum_interval_seconds=settings_at_load().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Launches `imports` for addresses and confirmed uploads that wait in asset_imports: one run"
        " per project, and again for what a dead run left. It spends nothing."
    ),
)
def asset_imports(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.SensorResult | dg.SkipReason:
    """Launch `imports` for what is due."""
    from scene_pipeline.defs.import_launches import launch_due_imports  # noqa: PLC0415  # psycopg

    return launch_due_imports(context.instance, pipeline)
