"""Storing a table of a report for other programs, as CSV and as Parquet.

Belongs here: which kinds its two files are. Does not belong here: their bytes (`tables`), storing
them (`stored_files`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from uuid import UUID

from scene_pipeline.database.report_files import ReportFileRow, ReportKind
from scene_pipeline.pipeline.reporting.stored_files import store_report_file
from scene_pipeline.pipeline.reporting.tables import ReportTable, csv_bytes, parquet_bytes
from scene_pipeline.pipeline.services import Services

TableName = Literal[
    "project_report",
    "project_models",
    "project_failures",
    "portfolio_report",
    "portfolio_models",
    "portfolio_days",
]

_CSV_TYPE = "text/csv"
_PARQUET_TYPE = "application/vnd.apache.parquet"
_KINDS: Mapping[TableName, tuple[ReportKind, ReportKind]] = MappingProxyType(
    {
        "project_report": ("project_report_csv", "project_report_parquet"),
        "project_models": ("project_models_csv", "project_models_parquet"),
        "project_failures": ("project_failures_csv", "project_failures_parquet"),
        "portfolio_report": ("portfolio_report_csv", "portfolio_report_parquet"),
        "portfolio_models": ("portfolio_models_csv", "portfolio_models_parquet"),
        "portfolio_days": ("portfolio_days_csv", "portfolio_days_parquet"),
    }
)


@dataclass(frozen=True, slots=True)
class StoredTable:
    """The files of a table."""

    csv: ReportFileRow
    parquet: ReportFileRow


async def store_table(
    services: Services,
    project_id: UUID | None,
    name: TableName,
    table: ReportTable,
    *,
    run_id: str | None = None,
) -> StoredTable:
    """Store a table; an empty one is a file of headings.

    Args:
        services: Store and database.
        project_id: The project it is about; None for all.
        name: Which table.
        table: Its rows.
        run_id: The run that made it.

    Raises:
        StorageError: A file could not be stored.
        LedgerError: code "object_collected".
    """
    csv_kind, parquet_kind = _KINDS[name]
    written = await services.call(csv_bytes, table)
    packed = await services.call(parquet_bytes, table)
    place = (services, project_id)
    return StoredTable(
        csv=await store_report_file(*place, csv_kind, written, _CSV_TYPE, run_id=run_id),
        parquet=await store_report_file(*place, parquet_kind, packed, _PARQUET_TYPE, run_id=run_id),
    )
