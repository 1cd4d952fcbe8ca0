"""Live displays at real terminals: small, without colours, dumb, interrupted; and piped."""

import re
import signal

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.terminal import CTRL_C, HIDE_CURSOR, PseudoTerminal
from scene_pipeline_tests.films import film

COLOURS = re.compile(rb"\x1b\[[0-9;]*[1-9][0-9;]*m")
ERASE = b"\x1b[2K"
SEQUENCES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def prompts(number: int) -> list[str]:
    return [f"A lighthouse, view {n}" for n in range(1, number + 1)]


def left_on_screen(terminal: PseudoTerminal) -> str:
    """What was written after the last line that was drawn over."""
    return SEQUENCES.sub(b"", terminal.written.rpartition(ERASE)[2]).decode().strip()


def test_a_run_is_drawn_on_a_small_terminal_and_leaves_it_clean(cli: CommandLine) -> None:
    cli.write("small.json", film(prompts(30), key="small"))

    terminal = PseudoTerminal(cli, "run", "small.json", columns=40, rows=12, NO_COLOR="1")
    code = terminal.end()

    assert code == 0, terminal.written.decode()
    assert HIDE_CURSOR in terminal.written
    assert terminal.is_cursor_shown
    assert b"30 of 30" in terminal.written
    assert b"accepted by offline" in terminal.written or b"stored" in terminal.written
    assert not [found for found in COLOURS.findall(terminal.written) if b"3" in found]
    assert b"%" not in terminal.written


def test_ctrl_c_during_the_display_leaves_the_cursor_and_says_how_to_go_on(
    cli: CommandLine,
) -> None:
    cli.write("stopped.json", film(prompts(40), key="stopped"))
    terminal = PseudoTerminal(cli, "run", "stopped.json", columns=60, rows=20)

    terminal.read_until(lambda written: b" of 40" in written and b"in progress" in written)
    terminal.resize(45, 10)
    terminal.press(CTRL_C)
    code = terminal.end()

    assert code == 130
    assert terminal.is_cursor_shown
    *drawn, told = left_on_screen(terminal).splitlines()
    assert any(re.search(r"\d+ of 40", line) for line in drawn)
    assert told.startswith("error [interrupted]: ")
    assert re.search(r"Go on with: \S*scene-pipeline run stopped\.json$", told)


def test_a_drill_is_drawn_while_it_works(cli: CommandLine) -> None:
    terminal = PseudoTerminal(
        cli, "drill", "--provider-faults", "content_policy", columns=100, rows=30
    )
    code = terminal.end()

    text = SEQUENCES.sub(b"", terminal.written).decode()
    assert code == 0, text
    assert "first run:" in text
    assert "Running with every fault at once ..." in text
    assert terminal.is_cursor_shown


def test_a_dumb_terminal_gets_plain_lines(cli: CommandLine) -> None:
    cli.write("dumb.json", film(prompts(2), key="dumb"))

    terminal = PseudoTerminal(cli, "run", "dumb.json", TERM="dumb")
    code = terminal.end()

    assert code == 0
    assert not SEQUENCES.search(terminal.written)
    assert len(re.findall(rb"scene_\d  generated", terminal.written)) >= 2


@pytest.mark.usefixtures("hang_ups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_drill_that_is_ended_from_outside_leaves_the_cursor(
    cli: CommandLine, number: signal.Signals
) -> None:
    terminal = PseudoTerminal(cli, "drill", "--provider-faults", "content_policy")
    terminal.read_until(lambda written: b"Running with every fault at once" in written)
    terminal.send(number)
    code = terminal.end()

    assert code == 130
    assert HIDE_CURSOR in terminal.written
    assert terminal.is_cursor_shown
    screen = left_on_screen(terminal)
    assert "content_policy" in screen
    assert screen.index("content_policy") < screen.index("error [interrupted]: ")
    command = r"\S*scene-pipeline drill --provider-faults content_policy"
    assert re.search(rf"Go on with: {command}$", screen)


def test_a_piped_drill_has_a_line_per_step_and_outcome_and_none_with_json(
    cli: CommandLine,
) -> None:
    piped = cli("drill", "--provider-faults", "content_policy")
    for_programs = cli("drill", "--provider-faults", "content_policy", "--json")

    assert "Running with every fault at once ..." in piped.out.splitlines()
    tried = [line for line in piped.out.splitlines() if line.startswith("tried ")]
    assert sorted(line.split()[1] for line in tried) == 2 * ["content_policy"] + 2 * ["sound"]
    assert "\x1b" not in piped.out
    assert for_programs.document["is_held"] is True
    assert for_programs.err == ""
