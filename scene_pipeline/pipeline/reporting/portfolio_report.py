"""What all projects of an installation took: by project, by model, by day, and as a picture.

Belongs here: laying out the sums and storing the files. Does not belong here: reading the ledger
(`database.reporting_all`), drawing (`media.charts`), where it is shown (`defs.reports`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from scene_pipeline.database.measures import Money
from scene_pipeline.database.report_files import ReportFileRow
from scene_pipeline.database.reporting_all import (
    ModelSums,
    PortfolioSums,
    ProjectSums,
    read_portfolio_sums,
)
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.reporting.report_columns import (
    ALL_MODEL_COLUMNS,
    DAY_COLUMNS,
    PROJECT_COLUMNS,
)
from scene_pipeline.pipeline.reporting.spending import dollars_each, money_columns
from scene_pipeline.pipeline.reporting.stored_files import store_report_file
from scene_pipeline.pipeline.reporting.stored_tables import StoredTable, store_table
from scene_pipeline.pipeline.reporting.tables import ReportTable, Value, table_of
from scene_pipeline.pipeline.services import Services

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.media.charts import ChartDay

CHART_DAYS = 60
"""Days that the chart shows, today included."""
CHART_TYPE = "image/png"


@dataclass(frozen=True, slots=True)
class PortfolioTotals:
    """Sums over all projects."""

    projects: int
    scenes: int
    ready: int
    frames: int
    versions: int
    attempts: int
    failures: int
    money: Money
    week_micros: int
    month_micros: int


@dataclass(frozen=True, slots=True)
class PortfolioReport:
    """The report over all projects as it stood at one moment."""

    today: date
    totals: PortfolioTotals
    projects: ReportTable
    models: ReportTable
    days: ReportTable
    """The newest first."""
    chart_days: "tuple[ChartDay, ...]"
    """Every one of the last 60 days, the oldest first."""


@dataclass(frozen=True, slots=True)
class StoredPortfolioReport:
    """The report, its files, and a small picture of its chart."""

    report: PortfolioReport
    projects: StoredTable
    models: StoredTable
    days: StoredTable
    chart: ReportFileRow
    preview: bytes = field(repr=False)
    """WebP of at most 40,000 bytes."""

    @property
    def tables(self) -> dict[str, StoredTable]:
        """Its tables by name; the first is what the report is about."""
        return {"projects": self.projects, "models": self.models, "days": self.days}


async def read_portfolio_report(conn: "Connection") -> PortfolioReport:
    """Add up the report over all projects.

    Args:
        conn: Outside of a transaction.
    """
    return portfolio_report_of(await read_portfolio_sums(conn))


async def make_portfolio_report(
    services: Services, *, run_id: str | None = None
) -> StoredPortfolioReport:
    """Add up the report over all projects, draw it, and store each table as CSV and Parquet.

    Raises:
        StorageError: A file could not be stored.
    """
    from scene_pipeline.media.charts import draw_portfolio_chart  # noqa: PLC0415  # heavy

    async with services.pool.connection() as conn:
        report = await read_portfolio_report(conn)
    chart = await services.call(draw_portfolio_chart, report.chart_days)
    place = (services, None)
    return StoredPortfolioReport(
        report=report,
        projects=await store_table(*place, "portfolio_report", report.projects, run_id=run_id),
        models=await store_table(*place, "portfolio_models", report.models, run_id=run_id),
        days=await store_table(*place, "portfolio_days", report.days, run_id=run_id),
        chart=await store_report_file(
            services, None, "portfolio_report_chart", chart.png, CHART_TYPE, run_id=run_id
        ),
        preview=chart.preview,
    )


def portfolio_report_of(sums: PortfolioSums) -> PortfolioReport:
    """Lay out what was read."""
    return PortfolioReport(
        today=sums.today,
        totals=_totals(sums.projects),
        projects=table_of("Projects", PROJECT_COLUMNS, [_project(line) for line in sums.projects]),
        models=table_of("Models", ALL_MODEL_COLUMNS, [_model(line) for line in sums.models]),
        days=_days(sums),
        chart_days=_chart_days(sums),
    )


def _totals(projects: list[ProjectSums]) -> PortfolioTotals:
    apart = ("projects", "money")
    names = [name for name in PortfolioTotals.__dataclass_fields__ if name not in apart]
    return PortfolioTotals(
        projects=len(projects),
        money=sum((project.money for project in projects), start=Money()),
        **{name: sum(getattr(project, name) for project in projects) for name in names},
    )


def _project(line: ProjectSums) -> dict[str, Value]:
    return {
        "project": line.key,
        "title": line.title,
        "archived": "yes" if line.is_archived else None,
        "scenes": line.scenes,
        "ready": line.ready,
        "not_ready": line.scenes - line.ready,
        "frames": line.frames,
        "versions": line.versions,
        "attempts": line.attempts,
        "failures": line.failures,
        **money_columns(line.money),
        "last_7_days_usd": usd(line.week_micros),
        "last_30_days_usd": usd(line.month_micros),
        "cost_per_frame_usd": dollars_each(line.money, line.frames),
    }


def _model(line: ModelSums) -> dict[str, Value]:
    return {
        "provider": line.provider,
        "model": line.model,
        "frames": line.frames,
        "versions": line.versions,
        "attempts": line.attempts,
        "failures": line.failures,
        "rejections": line.rejections,
        "seconds_median": _rounded(line.seconds_median),
        "seconds_p95": _rounded(line.seconds_p95),
        **money_columns(line.money),
        "cost_per_frame_usd": dollars_each(line.money, line.frames),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _days(sums: PortfolioSums) -> ReportTable:
    attempts: Counter[date] = Counter()
    micros: Counter[date] = Counter()
    for line in sums.days:
        attempts[line.day] += line.attempts
        micros[line.day] += line.cost_micros
    versions = {line.day: line.versions for line in sums.versions}
    days = sorted({*attempts, *versions}, reverse=True)
    return table_of(
        "Days",
        DAY_COLUMNS,
        [
            {
                "day": day,
                "attempts": attempts[day],
                "versions": versions.get(day, 0),
                "cost_usd": usd(micros[day]),
            }
            for day in days
        ],
    )


def _chart_days(sums: PortfolioSums) -> "tuple[ChartDay, ...]":
    from scene_pipeline.media.charts import ChartDay  # noqa: PLC0415  # as above

    micros: defaultdict[date, Counter[str]] = defaultdict(Counter)
    for line in sums.days:
        micros[line.day][f"{line.provider}: {line.model}"] += line.cost_micros
    versions = {line.day: line.versions for line in sums.versions}
    days = [sums.today - timedelta(days=back) for back in reversed(range(CHART_DAYS))]
    return tuple(
        ChartDay(
            day=day,
            cost_usd={name: float(usd(amount)) for name, amount in sorted(micros[day].items())},
            frames=versions.get(day, 0),
        )
        for day in days
    )
