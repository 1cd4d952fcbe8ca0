"""Runs whose process was killed are closed, so that their work can be taken up again."""

import dagster as dg

from scene_pipeline.defs.dead_runs import end_dead_runs
from scene_pipeline.defs.jobs import frames_job


@dg.sensor(
    # It launches nothing; the job is named because a sensor without one has no place in the UI.
    job=frames_job,
    # A killed run is to be taken up again within a minute, and Dagster needs some seconds for that.
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Closes runs of this machine whose process was killed, which Dagster's default launcher"
        " would never notice, so that their work can be taken up again. It spends nothing."
    ),
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End runs whose process is provably gone."""
    ended = end_dead_runs(context.instance)
    if not ended:
        return dg.SkipReason("Every open run of this machine has its process.")
    return dg.SkipReason(f"Ended {len(ended)} runs whose process is gone: {', '.join(ended)}.")
