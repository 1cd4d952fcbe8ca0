"""What needs a person is told to one: by the webhook, or in the log."""

from typing import TYPE_CHECKING

import dagster as dg

from scene_pipeline.defs import failed_runs
from scene_pipeline.defs.jobs import frames_job
from scene_pipeline.defs.resources import PipelineRuntime

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


@dg.sensor(
    # It launches nothing; the job is named because a sensor without one has no place in the UI.
    job=frames_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells of failed scenes and runs, blown budgets, doubtful payments and security refusals: "
        "each once, to SCENE_PIPELINE_ALERT_WEBHOOK_URL or, where none is set, to the log. "
        "It spends nothing."
    ),
)
def run_failures(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.SkipReason:
    """Notices runs that failed as a whole, then delivers what is due of the outbox `alerts`.

    At most 10 messages and less than 20 s per tick; what was cured meanwhile is not told.
    """
    from scene_pipeline.pipeline.alerts.delivery import deliver_alerts  # noqa: PLC0415  # heavy
    from scene_pipeline.pipeline.alerts.webhook import open_webhook  # noqa: PLC0415  # heavy

    webhook = open_webhook(pipeline.settings)
    try:
        noticed = _notice_failed_runs(context, pipeline)
        report = pipeline.in_database(lambda conn: deliver_alerts(conn, webhook))
    finally:
        if webhook is not None:
            webhook.close()
    for problem in report.problems:
        context.log.warning(problem)
    for message in report.told:
        context.log.info(message)
    if not report.told and not report.problems:
        waiting = f"; {noticed} failed runs were noted" if noticed else ""
        return dg.SkipReason(f"Nothing to tell{waiting}.")
    where = "the log" if webhook is None else "the webhook"
    problems = f" {len(report.problems)} messages did not get through." if report.problems else ""
    return dg.SkipReason(f"Told {len(report.told)} messages to {where}.{problems}")


def _notice_failed_runs(context: dg.SensorEvaluationContext, pipeline: PipelineRuntime) -> int:
    """Put runs that failed as a whole into the outbox; returns how many."""
    from scene_pipeline.database import alerts  # noqa: PLC0415  # psycopg

    failed = failed_runs.lately_failed_run_ids(context.instance)
    if not failed:
        return 0
    unjudged = pipeline.in_database(
        lambda conn: alerts.unjudged_runs(conn, failed, failed_runs.MAX_RUNS_PER_LOOK)
    )
    if not unjudged:
        return 0
    origin = context.code_location_origin
    location_name = None if origin is None else origin.location_name
    judged = failed_runs.judge_runs(context.instance, unjudged, location_name)

    async def write_down(conn: "Connection") -> int:
        new = [
            await alerts.note_failed_run(
                conn,
                run_id=run.run_id,
                project_key=run.project_key,
                summary=run.summary,
                scenes=run.scenes,
            )
            for run in judged
        ]
        return sum(new)

    return pipeline.in_database(write_down)
