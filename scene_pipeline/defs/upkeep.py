"""The jobs of upkeep: reconciling, collecting, archiving, renewing prices; and healing's.

None of them pays for a frame. Each is one op that calls the use case, sums it up in a line of the
log and in numbers beside its output, and fails with code and next action where it could not do what
it is for. Two runs of the same job never work at once: the second one leaves it to the first.

Belongs here: that. Does not belong here: when they run (`schedules`, `sensors.external_images`) and
what they do (`pipeline`).
"""

import dagster as dg
from pydantic import Field

from scene_pipeline.defs.healing import heal_job
from scene_pipeline.defs.partition_keys import InstanceKeys
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sweeping import upload_sweep_job
from scene_pipeline.defs.truth_sweep import truth_sweep_job
from scene_pipeline.defs.upkeep_work import (
    as_dagster_failure,
    at_work,
    in_database,
    left_to_another,
    numbers_output,
    retention_metadata,
    with_services,
)
from scene_pipeline.pipeline.orders import Failure

_LOGGED = 50


class ReconcileConfig(dg.Config):
    """What is compared, and whether it is repaired."""

    project: str | None = Field(
        default=None, description="Key of the one project to look at. Left empty: all projects."
    )
    apply: bool | None = Field(
        default=None,
        description=(
            "Repair what can be repaired safely; otherwise only tell. Left empty, "
            "SCENE_PIPELINE_RECONCILE_APPLY decides (default: repair). Nothing is paid for."
        ),
    )


class CollectionConfig(dg.Config):
    """Whether anything is removed."""

    apply: bool | None = Field(
        default=None,
        description=(
            "Give up old versions and remove garbage; otherwise only tell what would go. Left "
            "empty, SCENE_PIPELINE_COLLECT_APPLY decides (default: only tell)."
        ),
    )


@dg.op(out=dg.Out(dg.Nothing), description="Compares documents, rows and objects.")
def reconcile_projects(
    context: dg.OpExecutionContext,
    config: ReconcileConfig,
    pipeline: dg.ResourceParam[PipelineRuntime],
) -> dg.Output[None]:
    """Find where documents, rows and objects disagree, and repair what can be repaired safely."""
    from scene_pipeline.pipeline.upkeep.reconcile import reconcile  # noqa: PLC0415  # heavy

    apply = pipeline.settings.reconcile_apply if config.apply is None else config.apply
    with at_work(context):
        report = with_services(
            pipeline, "reconcile", lambda services: reconcile(services, config.project, apply=apply)
        )
    if report is None:
        return left_to_another(context)
    for drift in report.all_drifts[:_LOGGED]:
        tell = context.log.info if drift.status in ("repaired", "found") else context.log.warning
        tell(
            "%s %s [%s] %s %s",
            drift.name,
            drift.status,
            drift.kind,
            drift.message,
            drift.next_action,
        )
    numbers = {
        "versions_checked": report.versions_checked,
        "objects_checked": report.objects_checked,
        "repaired": report.count("repaired"),
        "found": report.count("found"),
        "told": report.count("told"),
        "failed": report.count("failed"),
    }
    if report.store_failure is not None:
        raise as_dagster_failure(report.store_failure, numbers)
    if numbers["failed"]:
        told = Failure(
            code="repairs_unfinished",
            message=f"{numbers['failed']} repairs did not succeed this time; the next run tries"
            " again.",
            next_action="See in this run's log which they are, or run `scene-pipeline reconcile`.",
        )
        raise as_dagster_failure(told, numbers)
    return numbers_output(context, numbers)


@dg.op(out=dg.Out(dg.Nothing), description="Gives up old versions and removes garbage.")
def collect_garbage(
    context: dg.OpExecutionContext,
    config: CollectionConfig,
    pipeline: dg.ResourceParam[PipelineRuntime],
) -> dg.Output[None]:
    """Find old versions and garbage, and remove them where that is switched on."""
    from scene_pipeline.pipeline.upkeep.collect import collect  # noqa: PLC0415  # heavy

    apply = pipeline.settings.collect_apply if config.apply is None else config.apply
    with at_work(context):
        report = with_services(
            pipeline, "collection", lambda services: collect(services, apply=apply)
        )
    if report is None:
        return left_to_another(context)
    numbers = {
        "old_versions": report.old_versions.objects,
        "old_versions_bytes": report.old_versions.size_bytes,
        "leftovers": report.leftovers.objects,
        "unfinished": report.unfinished.objects,
        "late": report.late.objects,
        "old_sheets": report.old_sheets,
        "old_reports": report.old_reports,
        "unknown": report.unknown.objects,
        "uploads": report.uploads.objects,
        "unfinished_uploads": report.unfinished_uploads,
        "deleted": report.deleted.objects,
        "deleted_bytes": report.deleted.size_bytes,
    }
    context.log.info("Removed" if apply else "Nothing was changed; this would be removed")
    if report.failures:
        told = Failure(
            code="collection_unfinished",
            message=f"Not everything was removed. {' '.join(report.failures)}",
            next_action="Run `scene-pipeline doctor` to see what the object store refuses.",
        )
        raise as_dagster_failure(told, numbers)
    further = {} if report.retained is None else retention_metadata(report.retained)
    return numbers_output(context, numbers, further)


@dg.op(out=dg.Out(dg.Nothing), description="Gives back the partition keys of archived projects.")
def give_back_partition_keys(
    context: dg.OpExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.Output[None]:
    """Take the keys of archived projects away, as far as no run holds them."""
    from scene_pipeline.pipeline.upkeep.archive import give_back_keys  # noqa: PLC0415  # psycopg

    keys = InstanceKeys(context.instance)
    with at_work(context):
        report = in_database(pipeline, "archive", lambda conn: give_back_keys(conn, keys))
    if report is None:
        return left_to_another(context)
    for project, reason in list(report.waiting.items())[:_LOGGED]:
        context.log.info("%s is left for the next time: %s", project, reason)
    numbers = {
        "projects": report.projects,
        "deleted_keys": report.deleted_keys,
        "waiting_projects": len(report.waiting),
    }
    return numbers_output(context, numbers)


@dg.op(out=dg.Out(dg.Nothing), description="Asks Fal what its models cost now.")
def renew_model_prices(
    context: dg.OpExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.Output[None]:
    """Renew the prices that estimates and caps rely on; asking is free of charge."""
    from scene_pipeline.pipeline.prices import renew_prices  # noqa: PLC0415  # psycopg

    with at_work(context):
        renewed = in_database(
            pipeline, "price_refresh", lambda conn: renew_prices(conn, pipeline.settings)
        )
    if renewed is None:
        return left_to_another(context)
    for endpoint, reason in list(renewed.refused.items())[:_LOGGED]:
        context.log.warning("%s has no price that may be relied on: %s", endpoint, reason)
    numbers = {"prices": len(renewed.prices), "refused": len(renewed.refused)}
    return numbers_output(context, numbers)


@dg.job(
    name="reconcile",
    description=(
        "Compares documents, rows and objects, and repairs what can be repaired. Spends nothing."
    ),
    executor_def=dg.in_process_executor,
)
def reconcile_job() -> None:
    """Reconcile."""
    reconcile_projects()


@dg.job(
    name="collection",
    description=(
        "Gives up old versions and removes what nothing needs; only tells, unless switched on. "
        "Spends nothing."
    ),
    executor_def=dg.in_process_executor,
)
def collection_job() -> None:
    """Collect."""
    collect_garbage()


@dg.job(
    name="archive",
    description="Gives back the partition keys of archived projects. Spends nothing.",
    executor_def=dg.in_process_executor,
)
def archive_job() -> None:
    """Archive."""
    give_back_partition_keys()


@dg.job(
    name="price_refresh",
    description="Asks Fal what its models cost now. Spends nothing.",
    executor_def=dg.in_process_executor,
)
def price_refresh_job() -> None:
    """Renew prices."""
    renew_model_prices()


UPKEEP_JOBS: tuple[dg.JobDefinition, ...] = (
    heal_job,
    reconcile_job,
    collection_job,
    archive_job,
    price_refresh_job,
    upload_sweep_job,
    truth_sweep_job,
)
"""All jobs of upkeep."""
