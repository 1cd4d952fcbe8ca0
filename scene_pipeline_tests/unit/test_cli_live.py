"""What the live displays show, at terminals of any size and where nobody watches."""

from contextlib import suppress
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from uuid import uuid4

import pytest
from rich.cells import cell_len
from rich.console import Console

from scene_pipeline.cli.copy_progress import CopyDisplay
from scene_pipeline.cli.drill_progress import DrillProgress
from scene_pipeline.cli.import_progress import ImportDisplay
from scene_pipeline.cli.live_display import MAX_LINES, TOTALS_SECONDS, LiveDisplay
from scene_pipeline.cli.progress import MAX_CHECK_LINES, RunProgress
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.database.collection import Amount
from scene_pipeline.drill.events import DrillStep, ScenarioTold
from scene_pipeline.drill.scenarios import choose
from scene_pipeline.drill.verdicts import Verdict
from scene_pipeline.pipeline.checks import CheckVerdict
from scene_pipeline.pipeline.library.import_events import ImportProgress
from scene_pipeline.pipeline.orders import (
    Failure,
    ProgressKind,
    SceneChecked,
    SceneOutcome,
    SceneProgress,
    SceneRef,
    StageDone,
)
from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyProgress


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def scenes(number: int) -> list[SceneRef]:
    return [SceneRef("film", f"scene_{n}") for n in range(1, number + 1)]


def run_of(number: int, *, is_json: bool = False) -> RunProgress:
    return RunProgress(Terminal(is_json=is_json), scenes(number), Decimal(5))


def said(scene: SceneRef, kind: ProgressKind, text: str) -> SceneProgress:
    return SceneProgress(scene, kind, text)


def made(scene: SceneRef) -> SceneOutcome:
    return SceneOutcome(scene, "generated", None, cost_usd=Decimal("0.003"))


def drawn(display: LiveDisplay, *, columns: int = 80, rows: int = 24) -> list[str]:
    """The lines at a terminal of this size."""
    file = StringIO()
    console = Console(file=file, width=columns, height=rows, force_terminal=True, color_system=None)
    console.print(display)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize(("columns", "rows"), [(40, 12), (20, 4), (80, 24), (200, 60)])
def test_500_scenes_fit_a_terminal_of_any_size(columns: int, rows: int) -> None:
    display = run_of(500)
    for scene in scenes(500)[:60]:
        display(said(scene, "running", "a line of the provider's log that goes on and on " * 3))
    for scene in scenes(500)[:40]:
        display(made(scene))

    lines = drawn(display, columns=columns, rows=rows)

    assert len(lines) < rows
    assert len(lines) <= MAX_LINES + 5
    assert all(cell_len(line) <= columns for line in lines)
    assert "40 of 500" in " ".join(lines)


def test_a_change_of_size_is_followed() -> None:
    display = run_of(30)
    for scene in scenes(30):
        display(said(scene, "running", "drawing"))

    narrow, wide = (drawn(display, columns=n, rows=r) for n, r in [(40, 12), (120, 40)])

    assert max(map(len, narrow)) <= 40 < max(map(len, wide))
    assert len(narrow) < 12 < len(wide)


def test_those_in_flight_are_shown_before_those_that_ended_or_wait() -> None:
    display = run_of(100)
    for scene in scenes(100)[:30]:
        display(made(scene))
    for scene in scenes(100)[50:53]:
        display(said(scene, "queued", "queued at fal, place 7"))

    lines = drawn(display)

    assert sum("place 7" in line for line in lines) == 3
    assert sum("generated" in line for line in lines[:MAX_LINES]) == MAX_LINES - 3


def test_the_totals_tell_what_stands_where_and_the_money_against_the_cap() -> None:
    display = run_of(12)
    first, second, third, fourth, *_ = scenes(12)
    display(made(first))
    display(said(second, "queued", "queued at fal, place 2"))
    display(said(third, "running", "step 3"))
    display(StageDone(fourth, "scene_prompt", {}))

    totals = drawn(display, columns=120)[-1]

    assert totals.startswith("1 of 12 · 1 generated · 1 in progress · 1 queued · $0.003 of $5.00")
    assert "%" not in totals


def test_no_estimate_before_three_have_ended_then_one_that_goes_away_when_it_is_wrong(
    clock: Clock,
) -> None:
    display = run_of(12)
    without_evidence = []
    for scene, following in pairwise(scenes(4)):
        display(said(scene, "running", "drawing"))
        clock.now += 10
        without_evidence.append(drawn(display, columns=120)[-1])
        display(said(following, "running", "drawing"))
        display(made(scene))

    with_evidence = drawn(display, columns=120)[-1]
    clock.now += 100
    contradicted = drawn(display, columns=120)[-1]

    assert not any("left" in totals for totals in without_evidence)
    assert "about 2 min left" in with_evidence
    assert "left" not in contradicted


def test_where_nobody_watches_each_end_is_a_line_and_totals_come_now_and_then(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_of(500) as display:
        for scene, following in pairwise(scenes(501)):
            for step in range(20):
                display(said(scene, "running", f"step {step}"))
            clock.now += 1
            display(said(following, "running", "drawing"))
            display(made(scene))

    lines = capsys.readouterr().out.splitlines()
    totals = [line for line in lines if " of 500" in line]
    assert sum("generated" in line and " of 500" not in line for line in lines) == 500
    assert len(lines) == 500 + len(totals)
    assert 20 <= len(totals) <= 500 / TOTALS_SECONDS
    assert any("left" in line for line in totals)


def test_with_json_nothing_is_written(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with run_of(2, is_json=True) as display:
        for scene in scenes(2):
            clock.now += 1000
            display(said(scene, "running", "drawing"))
            display(SceneChecked(scene, (failed_check("blank"),)))
            display(made(scene))

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def failed_check(words: str) -> CheckVerdict:
    return CheckVerdict("not_blank", passed=False, severity="error", words=words, version=1)


def test_a_failed_check_is_a_line_and_a_passed_one_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    passed = CheckVerdict("image_decodes", passed=True, severity="error", words="", version=1)

    with run_of(1) as display:
        display(SceneChecked(scenes(1)[0], (passed, failed_check("It is\x1b[2J black."))))

    assert capsys.readouterr().out.splitlines() == [
        "scene_1  check failed: not_blank: It is [2J black."
    ]


def test_failed_checks_have_a_bounded_number_of_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with run_of(100) as display:
        for scene in scenes(100):
            display(SceneChecked(scene, (failed_check("It is black."),)))

    assert len(capsys.readouterr().out.splitlines()) == MAX_CHECK_LINES
    assert "100 checks failed" in " ".join(drawn(display))


def test_what_a_provider_says_cannot_drive_the_terminal() -> None:
    display = run_of(1)
    display(said(scenes(1)[0], "running", "\x1b[2J\x1b]0;owned\x07 drawing\r\n\u202e"))

    assert not any(character in "".join(drawn(display)) for character in "\x1b\x07\u202e\r")


def test_imports_show_what_has_arrived_of_how_much() -> None:
    keys = {uuid4(): f"https://files.example.com/{n}.png" for n in range(3)}
    display = ImportDisplay(Terminal(), keys)
    first, second, _ = keys
    display(ImportProgress(first, keys[first], 2**20, 4 * 2**20))
    display(ImportProgress(second, keys[second], 2**20, None))

    lines = drawn(display, columns=120)

    assert any("1.0 MiB of 4.0 MiB received" in line for line in lines)
    assert "0 of 3 · 2 in progress · 2.0 MiB received" in lines[-1]


def test_a_piped_copy_says_now_and_then_how_far_it_is(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with CopyDisplay(Terminal()) as display:
        for number in range(1, 101):
            clock.now += TOTALS_SECONDS / 40
            amounts = Amount(number, number * 2**20), Amount(100, 100 * 2**20)
            display(CopyProgress("copying", *amounts, 1))

    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines] == [
        "Copied 40 of 100 objects · 40.0 MiB of 100.0 MiB · 1 failure · 10.0 s · about 20 s left",
        "Copied 80 of 100 objects · 80.0 MiB of 100.0 MiB · 1 failure · 20.0 s"
        " · a few seconds left",
    ]


def test_a_copy_says_nothing_beside_the_json_document(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with CopyDisplay(Terminal(is_json=True)) as display:
        clock.now += 2 * TOTALS_SECONDS
        display(CopyProgress("verifying", Amount(), Amount(), 0))

    assert capsys.readouterr().out == ""


def test_a_drill_shows_each_promise_as_it_is_tried_and_then_what_was_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scenarios = choose(["content_policy"])
    refused = Failure("content_rejected", "Refused.", "Reword it.")
    place = SceneRef("drill-1", "content_policy")
    verdict = Verdict("content_policy", "a promise", "a fault", "not kept", is_held=False)

    with DrillProgress(Terminal(), scenarios) as display:
        before = drawn(display, columns=120)
        display(DrillStep("Running with every fault at once"))
        told = said(place, "queued", "queued at fal, place 1")
        display(ScenarioTold("content_policy", "first run", told))
        during = drawn(display, columns=120)
        outcome = SceneOutcome(place, "failed", None, refused)
        display(ScenarioTold("content_policy", "first run", outcome))
        display(verdict)

    assert all(any(one.promise in line for line in before) for one in scenarios)
    assert any("first run: queued at fal, place 1" in line for line in during)
    assert "Running with every fault at once ..." in during[-1]
    assert any("not kept" in line for line in drawn(display, columns=120))
    assert "0 of 1 promise held" in drawn(display, columns=120)[-1]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Running with every fault at once ...",
        "tried content_policy  first run: failed  [content_rejected]",
    ]


def test_a_scene_that_another_run_made_is_told_as_such() -> None:
    display = run_of(2)
    ours, theirs = scenes(2)
    display(made(ours))
    display(SceneOutcome(theirs, "kept", None, paid_by_run="0b5cbe6e-6b3d-4f77-9bd8-1c1f6e1f2a33"))

    lines = drawn(display, columns=120)

    assert any("scene_2" in line and "kept  paid by run 0b5cbe6e" in line for line in lines)
    assert lines[-1].startswith("2 of 2 · 1 generated · 1 kept · $0.003 of $5.00")


def interrupt(display: RunProgress, *events: SceneProgress | SceneOutcome) -> None:
    """Show these events, and break off."""
    with suppress(KeyboardInterrupt), display:
        for event in events:
            display(event)
        raise KeyboardInterrupt


def test_how_far_a_piped_run_had_come_is_said_where_it_is_interrupted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = scenes(2)

    interrupt(run_of(2), made(first), said(second, "queued", "queued at fal"))

    *_, totals = capsys.readouterr().out.splitlines()
    assert totals.startswith("  1 of 2 · 1 generated · 1 queued · $0.003 of $5.00")
    assert "left" not in totals


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_the_last_state_stays_on_the_screen_only_where_the_end_came_too_early(
    is_interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StringIO()
    terminal = Terminal()
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system=None)
    monkeypatch.setattr(terminal, "_console", console)
    monkeypatch.setattr(Terminal, "is_live", True)
    display = RunProgress(terminal, scenes(1), Decimal(5))
    event = said(scenes(1)[0], "running", "drawing a lighthouse")

    if is_interrupted:
        interrupt(display, event)
    else:
        with display:
            display(event)

    *_, left = file.getvalue().rpartition("\x1b[2K")
    assert ("drawing a lighthouse" in left) is is_interrupted
