"""Reports as assets: what a project took, and what all of them took.

Belongs here: the assets, the job of the second, and what the UI shows of both. Does not belong
here: adding up and storing (`pipeline.reporting`).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import dagster as dg

from scene_pipeline.defs.catalogue import REPORTS_GROUP, asset_owners, column_schema, spends
from scene_pipeline.defs.metadata import (
    MAX_PREVIEW_BYTES,
    PROJECT_TAG,
    MetadataValues,
    inline_image,
)
from scene_pipeline.defs.partitions import projects
from scene_pipeline.defs.report_tables import (
    DAYS_SHOWN,
    FAILURES_SHOWN,
    MODELS_SHOWN,
    PROJECTS_SHOWN,
    SCENES_SHOWN,
    catalogue_columns,
    table_metadata,
)
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.upkeep_work import at_work
from scene_pipeline.pipeline.reporting.report_columns import PROJECT_COLUMNS, SCENE_COLUMNS
from scene_pipeline.scenes.identity import parse_project_partition_key

if TYPE_CHECKING:
    from scene_pipeline.database.measures import Money
    from scene_pipeline.database.report_files import ReportFileRow
    from scene_pipeline.pipeline.reporting.portfolio_report import StoredPortfolioReport
    from scene_pipeline.pipeline.reporting.project_report import StoredReport
    from scene_pipeline.pipeline.reporting.stored_tables import StoredTable

_PARTS: Final = ("metered_usd", "estimated_usd", "doubtful_usd")


@dg.asset(
    partitions_def=projects,
    # For lineage only, as the storyboard's.
    deps=[dg.AssetDep("scene_start_frame", partition_mapping=dg.AllPartitionMapping())],
    description=(
        "What a project's frames took, by scene and by model: attempts, failures by code, seconds "
        "and money, metered, estimated and in doubt. Renewed with the storyboard. Each of its "
        "tables is stored as CSV and Parquet. It spends nothing."
    ),
    group_name=REPORTS_GROUP,
    kinds={"pandas", "csv", "parquet"},
    owners=asset_owners(),
    tags=spends("nothing"),
    metadata=column_schema(catalogue_columns(SCENE_COLUMNS)),
    # Before the storyboard of the same run, which does not count where the report failed.
    op_tags={"dagster/priority": "1"},
    code_version="1",
)
def project_report(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.MaterializeResult[None]:
    """Add up one project."""
    from scene_pipeline.pipeline.reporting.project_report import make_project_report  # noqa: PLC0415  # heavy

    project_key = parse_project_partition_key(context.partition_key)
    run_id = context.run.run_id
    if PROJECT_TAG not in context.run.tags:
        context.instance.add_run_tags(run_id, {PROJECT_TAG: project_key})
    with at_work(context.op_execution_context):
        stored = pipeline.with_services(
            lambda services: make_project_report(services, project_key, run_id=run_id)
        )
    return dg.MaterializeResult(
        metadata=_project_metadata(stored),
        data_version=_data_version(stored.tables),
    )


@dg.asset(
    deps=[dg.AssetDep("project_report", partition_mapping=dg.AllPartitionMapping())],
    description=(
        "What all projects took, by project, model and day, with a chart of the last 60 days. "
        "Archived projects are in it, drills are not. Made every morning; its tables are stored "
        "as CSV and Parquet, the chart as PNG. It spends nothing."
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
    from scene_pipeline.pipeline.reporting.portfolio_report import make_portfolio_report  # noqa: PLC0415  # heavy

    run_id = context.run.run_id
    with at_work(context.op_execution_context):
        stored = pipeline.with_services(
            lambda services: make_portfolio_report(services, run_id=run_id)
        )
    return dg.MaterializeResult(
        metadata=_portfolio_metadata(stored),
        data_version=_data_version(stored.tables),
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
    from scene_pipeline.pipeline.reporting.spending import dollars_each  # noqa: PLC0415  # psycopg

    report, totals = stored.report, stored.report.totals
    return {
        # What is asked first stands first: the tables below are long.
        **_money(totals.money, cost_per_frame_usd=dollars_each(totals.money, totals.frames)),
        "frames": dg.MetadataValue.int(totals.frames),
        "versions": dg.MetadataValue.int(totals.versions),
        "attempts": dg.MetadataValue.int(totals.attempts),
        "failures": dg.MetadataValue.int(totals.failures),
        "rejections": dg.MetadataValue.int(totals.rejections),
        "seconds": dg.MetadataValue.float(totals.seconds),
        "models": table_metadata(report.models, MODELS_SHOWN),
        "failure_codes": table_metadata(report.failures, FAILURES_SHOWN),
        "scenes": table_metadata(report.scenes, SCENES_SHOWN),
        **_addresses(stored.tables),
        "project": dg.MetadataValue.text(report.project_key),
        "storage_paths": _paths(_files(stored.tables)),
    }


def _portfolio_metadata(stored: "StoredPortfolioReport") -> MetadataValues:
    from scene_pipeline.pipeline.facts import usd  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.reporting.spending import dollars_each  # noqa: PLC0415

    report, totals = stored.report, stored.report.totals
    preview = inline_image(stored.preview, "image/webp", MAX_PREVIEW_BYTES)
    shown: MetadataValues = {} if preview is None else {"preview": preview}
    return {
        **shown,
        "projects": table_metadata(report.projects, PROJECTS_SHOWN),
        "models": table_metadata(report.models, MODELS_SHOWN),
        "days": table_metadata(report.days, DAYS_SHOWN),
        "chart": dg.MetadataValue.url(stored.chart.storage_url),
        **_addresses(stored.tables),
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
            totals.money,
            cost_7_days_usd=usd(totals.week_micros),
            cost_30_days_usd=usd(totals.month_micros),
            cost_per_frame_usd=dollars_each(totals.money, totals.frames),
        ),
        "storage_paths": _paths([*_files(stored.tables), stored.chart]),
    }


def _money(money: "Money", **further: Decimal | None) -> MetadataValues:
    """Dollars as numbers that the UI plots; what is not known is left out."""
    from scene_pipeline.pipeline.reporting.spending import money_columns  # noqa: PLC0415  # psycopg

    # The UI lists them by name: the parts stand beside the whole.
    parts = {
        f"cost_{name}" if name in _PARTS else name: amount
        for name, amount in money_columns(money).items()
    }
    return {
        name: dg.MetadataValue.float(float(amount))
        for name, amount in {**parts, **further}.items()
        if amount is not None
    }


def _addresses(tables: "Mapping[str, StoredTable]") -> MetadataValues:
    """Links to the files of every table; those of what the report is about have no prefix."""
    main = next(iter(tables))
    return {
        form if name == main else f"{name}_{form}": dg.MetadataValue.url(file.storage_url)
        for name, table in tables.items()
        for form, file in (("csv", table.csv), ("parquet", table.parquet))
    }


def _files(tables: "Mapping[str, StoredTable]") -> "list[ReportFileRow]":
    return [file for table in tables.values() for file in (table.csv, table.parquet)]


def _data_version(tables: "Mapping[str, StoredTable]") -> dg.DataVersion:
    """Another one where any table is another."""
    digests = "\n".join(table.csv.sha256 for table in tables.values())
    return dg.DataVersion(sha256(digests.encode()).hexdigest())


def _paths(files: "Sequence[ReportFileRow]") -> dg.JsonMetadataValue:
    """Where the files are by kind, for programs that read the store itself."""
    return dg.MetadataValue.json({file.kind: file.storage_path for file in files})
