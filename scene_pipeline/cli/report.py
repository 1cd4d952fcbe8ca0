"""`report`: what a project's frames took, by scene, model and failure.

Belongs here: reading it, and writing it to files. Does not belong here: adding up
(`pipeline.reporting.project_report`), the page (`pipeline.reporting.page`), words
(`cli.report_words`).

Mode of operation: reads in one snapshot and changes nothing but the files that are named; one that
is there already is replaced, whole or not at all, and folders that are missing are made.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.cli.files import write_atomically
from scene_pipeline.cli.report_words import report_json, show_tables
from scene_pipeline.cli.session import database_in_words, in_database, open_databases
from scene_pipeline.cli.terminal import Terminal, shown_path
from scene_pipeline.errors import UsageError
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.pipeline.reporting.page import PageTable
    from scene_pipeline.pipeline.reporting.project_report import ProjectReport
    from scene_pipeline.pipeline.reporting.tables import ReportTable, Value

_NOT_ON_THE_PAGE = frozenset(
    {"provider", "free_frames", "seconds_median", "metered_usd", "estimated_usd"}
)
"""Columns that make a page's tables too wide to read; the files have them."""


def show_report(
    terminal: Terminal, project_key: str, *, html: Path | None, csv: Path | None
) -> int:
    """Show a project's report and write it where that was asked for; returns the exit code.

    Args:
        terminal: Where to.
        project_key: The project's key.
        html: Where the page with its frames and tables goes.
        csv: Where the table of scenes goes.

    Raises:
        NotFoundError: There is no such project.
        UsageError: Both files are the same.
        ConfigurationError: A file cannot be written.
    """
    if html is not None and csv is not None and os.path.realpath(html) == os.path.realpath(csv):
        raise UsageError(
            f"--html and --csv both name {html}.",
            code="usage",
            next_action="Name another file for one of them.",
        )
    settings = load_settings()
    with open_databases(settings, terminal) as urls, terminal.waiting("Adding up"):
        report = in_database(urls.application, _reading(project_key))
        files: dict[str, Path] = {}
        if html is not None:
            files["html"] = html.absolute()
            with database_in_words():
                page = asyncio.run(_page(settings, urls.application, report))
            write_atomically(files["html"], page)
        if csv is not None:
            from scene_pipeline.pipeline.reporting.tables import csv_bytes  # noqa: PLC0415

            files["csv"] = csv.absolute()
            write_atomically(files["csv"], csv_bytes(report.scenes))
    if terminal.is_json:
        terminal.document(report_json(report, files))
        return 0
    show_tables(terminal, report)
    if files:
        terminal.say()
    for kind, path in files.items():
        words = "The page" if kind == "html" else "The table of scenes"
        terminal.say(f"{words} is written to {shown_path(path)}.")
    return 0


def _reading(project_key: str) -> "Callable[[Connection], Awaitable[ProjectReport]]":
    from scene_pipeline.pipeline.reporting.project_report import read_project_report  # noqa: PLC0415  # pandas

    async def read(conn: "Connection") -> "ProjectReport":
        return await read_project_report(conn, project_key)

    return read


async def _page(settings: Settings, database_url: str, report: "ProjectReport") -> bytes:
    """The storyboard's page with the tables of the report."""
    from scene_pipeline.pipeline.reporting.page import render_page  # noqa: PLC0415
    from scene_pipeline.pipeline.reporting.page_layout import page_of  # noqa: PLC0415
    from scene_pipeline.pipeline.reporting.scene_pages import gather  # noqa: PLC0415
    from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy

    async with open_services(settings, database_url) as services:
        page = page_of(await gather(services, report.project_key))
    tables = (report.scenes, report.models, report.failures)
    return render_page(page, further_tables=[_page_table(table) for table in tables if table.rows])


def _page_table(table: "ReportTable") -> "PageTable":
    """A table for the page: without what its other tables tell, and what is nothing everywhere."""
    from scene_pipeline.pipeline.reporting.page import PageTable  # noqa: PLC0415

    shown = [
        place
        for place, column in enumerate(table.columns)
        if column.name not in _NOT_ON_THE_PAGE and any(row[place] for row in table.rows)
    ]
    return PageTable(
        table.title,
        [table.columns[place].name.replace("_", " ") for place in shown],
        [[_page_cell(row[place]) for place in shown] for row in table.rows],
    )


def _page_cell(value: "Value") -> str | int | float | Decimal | None:
    return value if value is None or isinstance(value, int | float | Decimal) else str(value)
