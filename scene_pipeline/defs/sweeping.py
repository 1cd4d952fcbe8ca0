"""The job that clears away uploads which nobody confirmed."""

import dagster as dg

from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.upkeep_work import (
    as_dagster_failure,
    at_work,
    left_to_another,
    numbers_output,
    with_services,
)
from scene_pipeline.pipeline.orders import Failure


@dg.op(out=dg.Out(dg.Nothing), description="Gives up uploads that were never confirmed.")
def sweep_unconfirmed_uploads(
    context: dg.OpExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.Output[None]:
    """Give up what was permitted a day ago and never confirmed, and remove what arrived of it."""
    from scene_pipeline.pipeline.library.sweeping import sweep_uploads  # noqa: PLC0415  # heavy

    with at_work(context):
        report = with_services(pipeline, "upload_sweep", sweep_uploads)
    if report is None:
        return left_to_another(context)
    numbers = {
        "expired_uploads": report.expired,
        "removed_objects": report.removed_objects,
        "removed_folders": report.removed_folders,
        "failed_objects": len(report.failed_objects),
    }
    if report.failed_objects:
        told = Failure(
            code="sweep_unfinished",
            message=f"The object store did not remove {len(report.failed_objects)} uploads; the"
            " next sweep tries again.",
            next_action="Run `scene-pipeline doctor` to see what it refuses.",
        )
        raise as_dagster_failure(told, numbers)
    return numbers_output(context, numbers)


@dg.job(
    name="upload_sweep",
    description="Gives up uploads that were never confirmed within a day. Spends nothing.",
    executor_def=dg.in_process_executor,
)
def upload_sweep_job() -> None:
    """Sweep."""
    sweep_unconfirmed_uploads()
