"""Files of reports that were stored: the record of them, and the newest of each kind.

Belongs here: SQL. Does not belong here: what is in them (`pipeline.reporting`).
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from scene_pipeline.database.objects import add_reference, mark_present
from scene_pipeline.database.rows import Connection

ReportKind = Literal[
    "storyboard_page",
    "start_frames",
    "project_report_csv",
    "project_report_parquet",
    "project_models_csv",
    "project_models_parquet",
    "project_failures_csv",
    "project_failures_parquet",
    "portfolio_report_csv",
    "portfolio_report_parquet",
    "portfolio_models_csv",
    "portfolio_models_parquet",
    "portfolio_days_csv",
    "portfolio_days_parquet",
    "portfolio_report_chart",
]


@dataclass(frozen=True, slots=True)
class ReportFileRow:
    """A file that was stored."""

    project_id: UUID | None
    """None for a report over all projects."""
    kind: ReportKind
    storage_path: str
    storage_url: str
    sha256: str
    file_size: int
    content_type: str
    run_id: str | None


_COLUMNS = ", ".join(ReportFileRow.__dataclass_fields__)


async def record_report_file(conn: Connection, file: ReportFileRow) -> None:
    """Keep a file whose object was written and verified.

    Raises:
        LedgerError: code "object_collected".
    """
    async with conn.transaction():
        await mark_present(conn, file.storage_path)
        await add_reference(conn, file.storage_path)
        names = ReportFileRow.__dataclass_fields__
        await conn.execute(
            f"INSERT INTO report_files ({_COLUMNS})"
            f" VALUES ({', '.join(f'%({name})s' for name in names)})",
            {name: getattr(file, name) for name in names},
        )


async def latest_report_file(
    conn: Connection, project_id: UUID | None, kind: ReportKind
) -> ReportFileRow | None:
    """The newest file of a kind."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM report_files"
        " WHERE project_id IS NOT DISTINCT FROM %s AND kind = %s ORDER BY id DESC LIMIT 1",
        (project_id, kind),
    )
    row = await cursor.fetchone()
    return ReportFileRow(**row) if row else None
