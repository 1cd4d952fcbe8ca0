"""`report`: what a film took, for people, for programs, as a page and as a table."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[FalStandIn]:
    with FalStandIn(tmp_path / "fal", hang_seconds=5.0) as standin:
        yield standin


@pytest.fixture
def paid_cli(cli: CommandLine, fal: FalStandIn, database_url: str) -> CommandLine:
    """The console script with Fal's stand-in, which meters."""
    cli.variables = {**fal.environment, "DATABASE_URL": database_url}
    return cli


def test_a_report_tells_the_same_money_everywhere(paid_cli: CommandLine) -> None:
    refused = "A lighthouse [[fault:content_policy]]"
    path = paid_cli.write("film.json", film({"=dawn": "A calm sea", "dusk": refused}))
    paid_cli.run(path)
    (paid_cli.directory / "old.csv").write_text("what stood here before")

    told = paid_cli("report", "film", "--json")
    words = paid_cli("report", "film", "--html", "made/page.html", "--csv", "old.csv")
    status = paid_cli("status", "film", "--json").document

    assert (told.code, words.code) == (0, 0)
    totals = told.document["totals"]
    assert totals["cost_usd"] == status["cost_usd"] > 0
    spent = status["spent_usd"]
    assert (totals["metered_usd"], totals["estimated_usd"], totals["doubtful_usd"]) == (
        spent["metered"], spent["estimated"], spent["in_doubt"],
    )  # fmt: skip
    shown = {scene["scene_id"]: scene["cost_usd"] for scene in told.document["scenes"]}
    assert shown == {scene["scene_id"]: scene["cost_usd"] for scene in status["scenes"]}
    [failure] = told.document["failures"]
    assert failure["code"] == "content_rejected"
    assert failure["said"]
    for part in ("A film  (film)", "1 of 2 scenes", "fal-ai/flux", "content_rejected", "$0.0"):
        assert part in words.out
    page = (paid_cli.directory / "made" / "page.html").read_text("utf-8")
    assert all(part in page for part in ("A calm sea", "content_rejected", "<h2", "wasted usd"))
    with (paid_cli.directory / "old.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["scene_id"] for row in rows] == ["'=dawn", "dusk"]
    assert [float(row["cost_usd"]) for row in rows] == list(shown.values())


def test_what_cannot_be_reported_or_written_is_told(cli: CommandLine, database_url: str) -> None:
    cli.variables = {"DATABASE_URL": database_url}
    cli("import", cli.write("film.json", film(["Dawn"])))

    unknown = cli("report", "nobody", "--json")
    twice = cli("report", "film", "--html", "x", "--csv", "x")
    folder = cli("report", "film", "--csv", ".")
    empty = cli("report", "film")

    assert (unknown.code, unknown.document["error"]["code"]) == (2, "project_unknown")
    assert (twice.code, "[usage]" in twice.err) == (2, True)
    assert (folder.code, "[file_not_writable]" in folder.err) == (2, True)
    assert (empty.code, "0 of 1 scene" in empty.out) == (0, True)
    assert not (cli.directory / "x").exists()
