"""What a project's frames took: attempts, failures, seconds and money, by scene and by model.

Belongs here: adding up and laying out. Does not belong here: reading the ledger
(`database.reporting`), files (`tables`), where it is shown (`defs.reports`, `cli.report`).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from scene_pipeline.database.report_files import ReportFileRow
from scene_pipeline.database.reporting import (
    REJECTED_CODE,
    FailureLine,
    ProjectLines,
    read_project_lines,
)
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.reporting.report_columns import (
    FAILURE_COLUMNS,
    MODEL_COLUMNS,
    SCENE_COLUMNS,
)
from scene_pipeline.pipeline.reporting.stored_files import store_report_file
from scene_pipeline.pipeline.reporting.tables import (
    ReportTable,
    Value,
    csv_bytes,
    dollars_each,
    parquet_bytes,
    table_of,
)
from scene_pipeline.pipeline.services import Services

if TYPE_CHECKING:
    import pandas as pd

    from scene_pipeline.database.rows import Connection

CSV_TYPE = "text/csv; charset=utf-8"
PARQUET_TYPE = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class Spending:
    """What something took; money in micro-dollars, as the ledger has it."""

    attempts: int
    failures: int
    rejections: int
    """Failures that a content check brought about."""
    frames: int
    """Scenes that have a frame now."""
    versions: int
    seconds: float
    """Of all answers together, though many were waited for at once."""
    metered_micros: int
    estimated_micros: int
    doubtful_micros: int
    """What lost requests may have cost that were followed by another."""
    used_micros: int
    """Spent on pictures that are shown."""

    @property
    def cost_micros(self) -> int:
        """All of it, as the budgets count it."""
        return self.metered_micros + self.estimated_micros + self.doubtful_micros

    @property
    def wasted_micros(self) -> int:
        """Spent on what is not shown: other versions, failures, doubtful payments."""
        return self.cost_micros - self.used_micros


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
    """A report and the files of its table of scenes."""

    report: ProjectReport
    csv: ReportFileRow
    parquet: ReportFileRow


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
    """Add up a project's report and store its table of scenes as CSV and Parquet.

    Raises:
        NotFoundError: There is no such project.
        StorageError: A file could not be stored.
    """
    async with services.pool.connection() as conn:
        lines = await read_project_lines(conn, project_key)
    report = await services.call(project_report_of, lines)
    written = await services.call(csv_bytes, report.scenes)
    packed = await services.call(parquet_bytes, report.scenes)
    place = (services, report.project_id)
    return StoredReport(
        report,
        await store_report_file(*place, "project_report_csv", written, CSV_TYPE, run_id=run_id),
        await store_report_file(
            *place, "project_report_parquet", packed, PARQUET_TYPE, run_id=run_id
        ),
    )


def project_report_of(lines: ProjectLines) -> ProjectReport:
    """Add up what was read."""
    made = _generations(lines)
    return ProjectReport(
        project_id=lines.project_id,
        project_key=lines.key,
        title=lines.title,
        totals=_spending(made, lines.failures),
        scenes=_scenes(lines, made),
        models=_models(lines, made),
        failures=_failures(lines),
    )


def _generations(lines: ProjectLines) -> "pd.DataFrame":
    """The ledger's lines, with the money of each kind in a column of its own."""
    import pandas as pd  # noqa: PLC0415  # a third of a second of imports, for tables only

    frame = pd.DataFrame(
        [asdict(line) for line in lines.generations],
        columns=[
            "scene_id", "provider", "model", "attempts", "seconds", "cost_micros", "cost_kind",
            "doubtful_micros", "versions", "is_current", "is_used",
        ],
    )  # fmt: skip
    whole = ["attempts", "cost_micros", "doubtful_micros", "versions"]
    frame = frame.astype(dict.fromkeys(whole, "int64") | {"seconds": "float64"})
    frame = frame.astype({"is_current": "bool", "is_used": "bool"})
    for kind in ("metered", "estimated"):
        frame[f"{kind}_micros"] = frame["cost_micros"].where(frame["cost_kind"] == kind, 0)
    frame["used_micros"] = frame["cost_micros"].where(frame["is_used"], 0)
    return frame


def _spending(made: "pd.DataFrame", failures: Sequence[FailureLine]) -> Spending:
    return Spending(
        attempts=int(made["attempts"].sum()),
        failures=sum(line.failures for line in failures),
        rejections=sum(line.failures for line in failures if line.code == REJECTED_CODE),
        frames=int(made["is_current"].sum()),
        versions=int(made["versions"].sum()),
        seconds=round(float(made["seconds"].sum()), 3),
        metered_micros=int(made["metered_micros"].sum()),
        estimated_micros=int(made["estimated_micros"].sum()),
        doubtful_micros=int(made["doubtful_micros"].sum()),
        used_micros=int(made["used_micros"].sum()),
    )


def _scenes(lines: ProjectLines, made: "pd.DataFrame") -> ReportTable:
    of_scene = dict(list(made.groupby("scene_id", sort=False)))
    failed: defaultdict[str, list[FailureLine]] = defaultdict(list)
    for line in lines.failures:
        failed[line.scene_id].append(line)
    records: list[dict[str, Value]] = []
    for scene in lines.scenes:
        failures = failed[scene.scene_id]
        took = of_scene.get(scene.scene_id, made.iloc[:0])
        records.append(
            {
                "scene_id": scene.scene_id,
                "state": scene.state,
                "version": scene.current_version,
                "provider": scene.provider,
                "model": scene.model,
                "failure_codes": failure_codes(failures),
                "seconds_median": _quantile(took, 0.5),
                "free_frames": int((took["cost_kind"] == "free").sum()),
                **_spent(_spending(took, failures)),
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
        spending = _spending(took, failures)
        records.append(
            {
                "provider": provider,
                "model": model,
                "frames": spending.frames,
                "rejections": spending.rejections,
                "seconds_median": _quantile(took, 0.5),
                "seconds_p95": _quantile(took, 0.95),
                "cost_per_frame_usd": dollars_each(spending.cost_micros, spending.frames),
                **_spent(spending),
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


def _spent(spending: Spending) -> dict[str, Value]:
    """The columns that scenes and models share."""
    return {
        "versions": spending.versions,
        "attempts": spending.attempts,
        "failures": spending.failures,
        "seconds": spending.seconds,
        "cost_usd": usd(spending.cost_micros),
        "metered_usd": usd(spending.metered_micros),
        "estimated_usd": usd(spending.estimated_micros),
        "doubtful_usd": usd(spending.doubtful_micros),
        "wasted_usd": usd(spending.wasted_micros),
    }


def _quantile(made: "pd.DataFrame", share: float) -> float | None:
    """Of the seconds of those that were answered."""
    answered = made["seconds"].dropna()
    return None if answered.empty else round(float(answered.quantile(share)), 3)
