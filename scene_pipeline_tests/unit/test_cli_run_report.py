"""What is told at the end of a run, where part of it was another run's."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from unittest.mock import sentinel

from scene_pipeline.cli.outputs import RunFiles
from scene_pipeline.cli.run_report import RunReport
from scene_pipeline.pipeline.orders import SceneOutcome, SceneRef

OURS = SceneOutcome(SceneRef("film", "scene_1"), "generated", None, cost_usd=Decimal("0.003"))
KEPT = SceneOutcome(SceneRef("film", "scene_2"), "kept", None)
THEIRS = replace(KEPT, scene=SceneRef("film", "scene_3"), paid_by_run="somebody's run")


def report_of(*outcomes: SceneOutcome) -> RunReport:
    files = RunFiles(Path("film.json"), {}, {})
    return RunReport(sentinel.preview, outcomes, ("run",), files, 2.0, None, "film")


def test_the_summary_counts_only_what_the_run_itself_made() -> None:
    report = report_of(OURS, KEPT, THEIRS)

    assert report.summary == (
        "1 generated, 2 kept (1 made by another run meanwhile); $0.003 spent; 2.0 s"
    )
    assert (report.counts["generated"], report.made_by_others) == (1, 1)


def test_the_summary_speaks_of_no_others_where_there_were_none() -> None:
    assert report_of(OURS, KEPT).summary == "1 generated, 1 kept; $0.003 spent; 2.0 s"
    assert report_of().summary == "No scenes; $0.00 spent; 2.0 s"


def test_a_frame_of_others_whose_scene_was_edited_is_stale_and_not_kept() -> None:
    report = report_of(OURS, replace(THEIRS, status="stale"))

    assert report.summary == "1 generated, 1 stale; $0.003 spent; 2.0 s"
    assert report.made_by_others == 0
