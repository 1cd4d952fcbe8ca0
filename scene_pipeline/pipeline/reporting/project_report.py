"""What a project's frames took: attempts, failures, seconds and money, by scene and by model.

Belongs here: its tables, and storing them. Does not belong here: reading the ledger
(`database.reporting`), adding up (`spending`), files (`tables`, `stored_tables`), where it is shown
(`defs.reports`, `cli.report`).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from scene_pipeline.database.reporting import FailureLine, ProjectLines, read_project_lines
from scene_pipeline.pipeline.reporting.report_columns import (
    FAILURE_COLUMNS,
    MODEL_COLUMNS,
    SCENE_COLUMNS,
)
from scene_pipeline.pipeline.reporting.spending import (
    Spending,
    dollars_each,
    generations_of,
    seconds_quantile,
    spending_from,
    spending_of,
    spent_columns,
    sums_by,
)
from scene_pipeline.pipeline.reporting.stored_tables import StoredTable, store_table
from scene_pipeline.pipeline.reporting.tables import ReportTable, Value, table_of
from scene_pipeline.pipeline.services import Services

if TYPE_CHECKING:
    import pandas as pd

    from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class ProjectReport:
    """A project's report as it stood at one moment."""

    project_id: UUID
    project_key: str
    title: str | None
    totals: Spending
    scenes: ReportTable
    models: ReportTable
    failures: ReportTable


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report and the files of its tables."""

    report: ProjectReport
    scenes: StoredTable
    models: StoredTable
    failures: StoredTable

    @property
    def tables(self) -> dict[str, StoredTable]:
        """Its tables by name; the first is what the report is about."""
        return {"scenes": self.scenes, "models": self.models, "failures": self.failures}


async def read_project_report(conn: "Connection", project_key: str) -> ProjectReport:
    """Add up a project's report.

    Args:
        conn: Outside of a transaction.
        project_key: The project's key.

    Raises:
        NotFoundError: There is no such project.
    """
    return project_report_of(await read_project_lines(conn, project_key))


async def make_project_report(
    services: Services, project_key: str, *, run_id: str | None = None
) -> StoredReport:
    """Add up a project's report and store each of its tables as CSV and Parquet.

    Raises:
        NotFoundError: There is no such project.
        StorageError: A file could not be stored.
    """
    async with services.pool.connection() as conn:
        lines = await read_project_lines(conn, project_key)
    report = await services.call(project_report_of, lines)
    place = (services, report.project_id)
    return StoredReport(
        report,
        scenes=await store_table(*place, "project_report", report.scenes, run_id=run_id),
        models=await store_table(*place, "project_models", report.models, run_id=run_id),
        failures=await store_table(*place, "project_failures", report.failures, run_id=run_id),
    )


def project_report_of(lines: ProjectLines) -> ProjectReport:
    """Add up what was read."""
    made = generations_of(lines)
    return ProjectReport(
        project_id=lines.project_id,
        project_key=lines.key,
        title=lines.title,
        totals=spending_of(made, lines.failures),
        scenes=_scenes(lines, made),
        models=_models(lines, made),
        failures=_failures(lines),
    )


def _scenes(lines: ProjectLines, made: "pd.DataFrame") -> ReportTable:
    sums = sums_by(made, "scene_id")
    medians = made.groupby("scene_id")["seconds"].median().dropna()
    free_frames = made[made["cost_kind"] == "free"].groupby("scene_id").size()
    failed: defaultdict[str, list[FailureLine]] = defaultdict(list)
    for line in lines.failures:
        failed[line.scene_id].append(line)
    records: list[dict[str, Value]] = []
    for scene in lines.scenes:
        failures = failed[scene.scene_id]
        median = medians.get(scene.scene_id)
        records.append(
            {
                "scene_id": scene.scene_id,
                "state": scene.state,
                "version": scene.current_version,
                "provider": scene.provider,
                "model": scene.model,
                "failure_codes": failure_codes(failures),
                "seconds_median": None if median is None else round(float(median), 3),
                "free_frames": int(free_frames.get(scene.scene_id, 0)),
                **spent_columns(spending_from(sums.get(scene.scene_id, {}), failures)),
                "versions": scene.versions,
            }
        )
    return table_of("What each scene took", SCENE_COLUMNS, records)


def _models(lines: ProjectLines, made: "pd.DataFrame") -> ReportTable:
    records: list[dict[str, Value]] = []
    for names, took in made.groupby(["provider", "model"], sort=True):
        provider, model = (str(name) for name in names)
        failures = [
            line for line in lines.failures if (line.provider, line.model) == (provider, model)
        ]
        spending = spending_of(took, failures)
        records.append(
            {
                "provider": provider,
                "model": model,
                "frames": spending.frames,
                "rejections": spending.rejections,
                "seconds_median": seconds_quantile(took, 0.5),
                "seconds_p95": seconds_quantile(took, 0.95),
                "cost_per_frame_usd": dollars_each(spending.money, spending.frames),
                **spent_columns(spending),
            }
        )
    return table_of("What each model took", MODEL_COLUMNS, records)


def _failures(lines: ProjectLines) -> ReportTable:
    words = {said.code: said for said in lines.words}
    times: Counter[str] = Counter()
    for line in lines.failures:
        times[line.code] += line.failures
    records: list[dict[str, Value]] = []
    for code, number in sorted(times.items(), key=lambda item: (-item[1], item[0])):
        said = words.get(code)
        records.append(
            {
                "code": code,
                "failures": number,
                "scenes": len({line.scene_id for line in lines.failures if line.code == code}),
                "said": None if said is None else said.message,
                "next_action": None if said is None else said.next_action,
            }
        )
    return table_of("Failures by code", FAILURE_COLUMNS, records)


def failure_codes(failures: Sequence[FailureLine]) -> str | None:
    """Failures by code, the most frequent first: "fal_timeout x2, result_lost"."""
    times: Counter[str] = Counter()
    for line in failures:
        times[line.code] += line.failures
    ordered = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(c if n == 1 else f"{c} x{n}" for c, n in ordered) or None
