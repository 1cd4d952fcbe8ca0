"""Reports as assets: what a project took, and what all of them took.

Belongs here: the assets, the job of the second, and what the UI shows of both. Does not belong
here: adding up and storing (`pipeline.reporting`).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import dagster as dg

from scene_pipeline.defs.catalogue import REPORTS_GROUP, asset_owners, column_schema, spends
from scene_pipeline.defs.metadata import (
    MAX_PREVIEW_BYTES,
    PROJECT_TAG,
    MetadataValues,
    inline_image,
)
from scene_pipeline.defs.partitions import projects
from scene_pipeline.defs.report_tables import catalogue_columns, table_metadata
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.upkeep_work import at_work
from scene_pipeline.pipeline.reporting.report_columns import PROJECT_COLUMNS, SCENE_COLUMNS
from scene_pipeline.scenes.identity import parse_project_partition_key

if TYPE_CHECKING:
    from scene_pipeline.database.report_files import ReportFileRow
    from scene_pipeline.pipeline.reporting.portfolio_report import StoredPortfolioReport
    from scene_pipeline.pipeline.reporting.project_report import StoredReport


@dg.asset(
    partitions_def=projects,
    # For lineage only, as the storyboard's.
    deps=[dg.AssetDep("scene_start_frame", partition_mapping=dg.AllPartitionMapping())],
    description=(
        "What a project's frames took, by scene and by model: attempts, failures by code, seconds "
        "and money, metered, estimated and in doubt. Renewed with the storyboard. The table of "
        "scenes is stored as CSV and Parquet. It spends nothing."
    ),
    group_name=REPORTS_GROUP,
    kinds={"pandas", "csv", "parquet"},
    owners=asset_owners(),
    tags=spends("nothing"),
    metadata=column_schema(catalogue_columns(SCENE_COLUMNS)),
    code_version="1",
)
def project_report(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.MaterializeResult[None]:
    """Add up one project."""
    from scene_pipeline.pipeline.reporting.project_report import (  # noqa: PLC0415  # heavy
        make_project_report,
    )

    project_key = parse_project_partition_key(context.partition_key)
    run_id = context.run.run_id
    if PROJECT_TAG not in context.run.tags:
        context.instance.add_run_tags(run_id, {PROJECT_TAG: project_key})
    stored = pipeline.with_services(
        lambda services: make_project_report(services, project_key, run_id=run_id)
    )
    return dg.MaterializeResult(
        metadata=_project_metadata(stored),
        data_version=dg.DataVersion(stored.csv.sha256),
    )


@dg.asset(
    deps=[dg.AssetDep("project_report", partition_mapping=dg.AllPartitionMapping())],
    description=(
        "What all projects took, by project, model and day, with a chart of the last 60 days. "
        "Archived projects are in it, drills are not. Made every morning; the table of projects is "
        "stored as CSV and Parquet, the chart as PNG. It spends nothing."
    ),
    group_name=REPORTS_GROUP,
    kinds={"pandas", "csv", "parquet", "image"},
    owners=asset_owners(),
    tags=spends("nothing"),
    metadata=column_schema(catalogue_columns(PROJECT_COLUMNS)),
    code_version="1",
)
def portfolio_report(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.MaterializeResult[None]:
    """Add up all projects."""
    from scene_pipeline.pipeline.reporting.portfolio_report import (  # noqa: PLC0415  # heavy
        make_portfolio_report,
    )

    run_id = context.run.run_id
    with at_work(context.op_execution_context):
        stored = pipeline.with_services(
            lambda services: make_portfolio_report(services, run_id=run_id)
        )
    return dg.MaterializeResult(
        metadata=_portfolio_metadata(stored),
        data_version=dg.DataVersion(stored.csv.sha256),
    )


portfolio_job = dg.define_asset_job(
    "portfolio",
    selection=dg.AssetSelection.assets("portfolio_report"),
    description=(
        "Adds up all projects: frames, failures and money by project, model and day, as tables, "
        "files and a chart. Spends nothing."
    ),
)

REPORT_ASSETS: tuple[dg.AssetsDefinition, ...] = (project_report, portfolio_report)
"""All reports of the code location."""


def _project_metadata(stored: "StoredReport") -> MetadataValues:
    from scene_pipeline.pipeline.facts import usd  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.reporting.tables import dollars_each  # noqa: PLC0415

    report, totals = stored.report, stored.report.totals
    return {
        # What is asked first stands first: the tables below are long.
        **_money(
            cost_usd=usd(totals.cost_micros),
            cost_metered_usd=usd(totals.metered_micros),
            cost_estimated_usd=usd(totals.estimated_micros),
            cost_doubtful_usd=usd(totals.doubtful_micros),
            wasted_usd=usd(totals.wasted_micros),
            cost_per_frame_usd=dollars_each(totals.cost_micros, totals.frames),
        ),
        "frames": dg.MetadataValue.int(totals.frames),
        "versions": dg.MetadataValue.int(totals.versions),
        "attempts": dg.MetadataValue.int(totals.attempts),
        "failures": dg.MetadataValue.int(totals.failures),
        "rejections": dg.MetadataValue.int(totals.rejections),
        "seconds": dg.MetadataValue.float(totals.seconds),
        "models": table_metadata(report.models),
        "failure_codes": table_metadata(report.failures),
        "scenes": table_metadata(report.scenes),
        "csv": dg.MetadataValue.url(stored.csv.storage_url),
        "parquet": dg.MetadataValue.url(stored.parquet.storage_url),
        "project": dg.MetadataValue.text(report.project_key),
        **_files([stored.csv, stored.parquet]),
    }


def _portfolio_metadata(stored: "StoredPortfolioReport") -> MetadataValues:
    from scene_pipeline.pipeline.facts import usd  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.reporting.tables import dollars_each  # noqa: PLC0415

    report, totals = stored.report, stored.report.totals
    preview = inline_image(stored.preview, "image/webp", MAX_PREVIEW_BYTES)
    shown: MetadataValues = {} if preview is None else {"preview": preview}
    return {
        **shown,
        "projects": table_metadata(report.projects),
        "models": table_metadata(report.models),
        "days": table_metadata(report.days),
        "chart": dg.MetadataValue.url(stored.chart.storage_url),
        "csv": dg.MetadataValue.url(stored.csv.storage_url),
        "parquet": dg.MetadataValue.url(stored.parquet.storage_url),
        "day": dg.MetadataValue.text(report.today.isoformat()),
        "project_count": dg.MetadataValue.int(totals.projects),
        "scene_count": dg.MetadataValue.int(totals.scenes),
        "ready": dg.MetadataValue.int(totals.ready),
        "not_ready": dg.MetadataValue.int(totals.scenes - totals.ready),
        "frames": dg.MetadataValue.int(totals.frames),
        "versions": dg.MetadataValue.int(totals.versions),
        "attempts": dg.MetadataValue.int(totals.attempts),
        "failures": dg.MetadataValue.int(totals.failures),
        **_money(
            cost_usd=usd(totals.cost_micros),
            cost_metered_usd=usd(totals.metered_micros),
            cost_estimated_usd=usd(totals.estimated_micros),
            cost_doubtful_usd=usd(totals.doubtful_micros),
            wasted_usd=usd(totals.wasted_micros),
            cost_7_days_usd=usd(totals.week_micros),
            cost_30_days_usd=usd(totals.month_micros),
            cost_per_frame_usd=dollars_each(totals.cost_micros, totals.frames),
        ),
        **_files([stored.csv, stored.parquet, stored.chart]),
    }


def _money(**amounts: Decimal | None) -> MetadataValues:
    """Dollars as numbers that the UI plots; what is not known is left out."""
    return {
        name: dg.MetadataValue.float(float(amount))
        for name, amount in amounts.items()
        if amount is not None
    }


def _files(files: "Sequence[ReportFileRow]") -> MetadataValues:
    """Where the files are, for programs that read the store itself."""
    return {f"{file.kind}_path": dg.MetadataValue.text(file.storage_path) for file in files}
