"""What commands write: amounts, foreign text, arguments that mean files."""

import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from scene_pipeline.cli.commands.arguments import parse_usd
from scene_pipeline.cli.files import is_file_argument, write_atomically
from scene_pipeline.cli.run_header import _TO_DO
from scene_pipeline.cli.terminal import MAX_PROBLEMS_SHOWN, as_typed_here, plain, problem_lines
from scene_pipeline.cli.wording import asked_by, duration
from scene_pipeline.errors import ConfigurationError, Problem, UsageError
from scene_pipeline.pipeline.facts import dollars
from scene_pipeline.scenes.planning import Action


@pytest.mark.parametrize(
    ("amount", "words"),
    [("0", "$0.00"), ("5", "$5.00"), ("0.003", "$0.003"), ("1E-6", "$0.000001"), ("1.5", "$1.50")],
)
def test_an_amount_keeps_its_cents_and_never_shows_a_power(amount: str, words: str) -> None:
    assert dollars(Decimal(amount)) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (125, "2 min 5 s")]
)
def test_a_duration_is_written_in_its_own_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "document"),
        ("request:12", "request 12"),
        ("attempt:2", "attempt 2"),
        ("reuse:0b5cbe6e-6b3d-4f77-9bd8-1c1f6e1f2a33", "reuse"),
        ("request:12#rung1", "request 12, after 1 failed attempt"),
        ("request:12#rung2", "request 12, after 2 failed attempts"),
        ("kpzhgbxd", "backfill kpzhgbxd"),
        ("0b5cbe6e-6b3d-4f77-9bd8-1c1f6e1f2a33", "run 0b5cbe6e"),
    ],
)
def test_a_token_is_told_as_what_was_asked_for(token: str, words: str) -> None:
    assert asked_by(token) == words


def test_foreign_text_cannot_command_the_terminal() -> None:
    hostile = "a\x1b]0;title\x07b\x1b[2Jc\x9bd\ne\u202ef"

    assert not set(plain(hostile)) & set("\x1b\x07\x9b\n\u202e")
    assert plain("\x1b[32mgreen\x1b[0m") == "green"


def test_a_thousand_problems_do_not_fill_the_screen() -> None:
    problems = tuple(Problem("code", "$", f"number {number}") for number in range(1000))

    lines = problem_lines(problems)

    assert len(lines) == MAX_PROBLEMS_SHOWN + 1
    assert lines[-1].strip() == f"and {1000 - MAX_PROBLEMS_SHOWN} more"


@pytest.mark.parametrize(
    ("argument", "is_file"),
    [("film.json", True), ("FILM.JSON", True), ("films/one", True), ("film", False)],
)
def test_an_argument_means_a_file_by_its_form(argument: str, *, is_file: bool) -> None:
    assert is_file_argument(argument) is is_file


def test_an_argument_means_a_file_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("film").write_text("{}")

    assert is_file_argument("film")


@pytest.mark.parametrize("text", ["cheap", "-1", "NaN", "Infinity", ""])
def test_a_cap_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an amount"):
        parse_usd(text)


def test_a_cap_is_exact() -> None:
    assert parse_usd(" $0.10 ") == Decimal("0.10")


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "new" / "film.json"
    write_atomically(place, b"old")
    write_atomically(place, b"new")

    assert place.read_bytes() == b"new"
    assert list(place.parent.iterdir()) == [place]


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    place, link = tmp_path / "shared" / "film.json", tmp_path / "film.json"
    link.symlink_to(place)
    write_atomically(link, b"old")
    write_atomically(link, b"new")

    assert link.is_symlink()
    assert place.read_bytes() == b"new"


def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"rows")
    reader.join(timeout=10)

    assert read == [b"rows"]
    assert pipe.is_fifo()


def test_links_that_lead_to_each_other_are_refused_in_a_sentence(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)

    with pytest.raises(ConfigurationError, match="one cannot be written"):
        write_atomically(one, b"new")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"film\.json cannot be written"):
        write_atomically(tmp_path / "file" / "film.json", b"new")


def test_a_run_has_words_for_whatever_may_be_done_with_a_scene() -> None:
    assert set(_TO_DO) == {*get_args(Action), "blocked"}


def test_commands_of_a_next_action_can_be_typed_where_the_program_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", [str(Path.cwd() / ".venv" / "bin" / "scene-pipeline")])

    told = as_typed_here("Look: `scene-pipeline status`.")

    assert told == "Look: `.venv/bin/scene-pipeline status`."
