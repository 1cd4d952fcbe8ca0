"""Pictures that are at their provider only are brought home by themselves."""

import dagster as dg

from scene_pipeline.defs.active_runs import has_active_run
from scene_pipeline.defs.healing import HEALED_PER_RUN, HealConfig, heal_job
from scene_pipeline.defs.metadata import HEAL_STATE_TAG, reason_tag
from scene_pipeline.defs.resources import PipelineRuntime

_RUNS_PER_STATE = 3


@dg.sensor(
    # By name: Dagster rebuilds a sensor of an op job, and warns of a parameter that nobody gave.
    job_name=heal_job.name,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Brings home frames that could not be stored when they were made, what expires first "
        "first, and corrects the documents. While the store stays down it is asked ever more "
        "rarely. It spends nothing."
    ),
)
def external_images(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.RunRequest | dg.SkipReason:
    """Launches `heal` for what is due: the rows say which versions are, and when.

    The pauses grow to half an hour, and there is one more attempt shortly before a provider's
    address expires.
    """
    from scene_pipeline.database.heal_times import due_state  # noqa: PLC0415  # psycopg

    due = pipeline.in_database(lambda conn: due_state(conn, HEALED_PER_RUN))
    if due is None:
        return dg.SkipReason("No picture is due to be brought home.")
    state, number = due
    if has_active_run(context.instance, heal_job.name):
        return dg.SkipReason(f"{number} pictures are due; a run is at it, or waits for its turn.")
    # Dagster launches the same run key never again, also when its run could not begin: it carries
    # the attempt. The state changes with every attempt at healing, and every half an hour.
    tried = context.instance.get_runs_count(dg.RunsFilter(tags={HEAL_STATE_TAG: state}))
    if tried >= _RUNS_PER_STATE:
        return dg.SkipReason(
            f"{number} pictures are due, but {tried} runs ended without trying them; the next is"
            " launched within half an hour."
        )
    return dg.RunRequest(
        run_key=f"heal:{state}:{tried + 1}",
        run_config=dg.RunConfig(ops={"heal_external_images": HealConfig(only_due=True)}),
        tags={
            HEAL_STATE_TAG: state,
            **reason_tag(f"pictures that are at their provider only: {number}"),
        },
    )
