"""docs/errors.md holds every code that the package tells, and the commands told exist.

The codes are read out of the source, so that a new one without a line fails here.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from scene_pipeline import errors
from scene_pipeline.cli.app import app
from scene_pipeline.errors import AGAIN, ANOTHER, DocumentError, ScenePipelineError, named, quoted
from scene_pipeline_tests.error_codes import BUILT, CODE, FAMILIES, PACKAGE, collect, drift_kinds

ROOT = PACKAGE.parent
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for section in SECTIONS
    if "| code | what it means |" in section
    for line in section.splitlines()
    if line.startswith("| `")
]
TOLD = [row[0].strip("`") for row in ROWS]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_code_has_its_line() -> None:
    codes = {*collect().codes, *drift_kinds(), *FAMILIES}

    assert {code: collect().codes.get(code) for code in codes - set(TOLD)} == {}


def test_every_line_is_of_a_code() -> None:
    codes = {*collect().codes, *drift_kinds(), *FAMILIES}

    assert [code for code in TOLD if code not in codes] == []
    assert len(set(TOLD)) == len(TOLD)


def test_a_code_is_a_word() -> None:
    assert [code for code in collect().codes if not CODE.fullmatch(code)] == []


def test_codes_are_built_in_known_places_only() -> None:
    built = {
        file: expressions - BUILT.get(file, set()) for file, expressions in collect().built.items()
    }

    assert {file: left for file, left in built.items() if left} == {}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_a_section_is_sorted(section: str) -> None:
    if "| code | what it means |" in section:
        codes = re.findall(r"^\| `([^`]+)` ", section, flags=re.MULTILINE)
        assert codes == sorted(codes)
        assert codes


def test_a_line_says_what_it_means_and_what_to_do() -> None:
    assert [row for row in ROWS if len(row) not in (3, 4) or not all(row)] == []
    assert len(ROWS) > 250


def _classes() -> Iterator[type[ScenePipelineError]]:
    waiting: list[type[ScenePipelineError]] = [ScenePipelineError]
    while waiting:
        one = waiting.pop()
        if one.__module__ == errors.__name__:
            yield one
        waiting.extend(one.__subclasses__())


@pytest.mark.parametrize("kind", list(_classes()), ids=lambda kind: kind.__name__)
def test_an_error_without_words_of_its_own_says_what_to_do(kind: type[ScenePipelineError]) -> None:
    error = kind("It failed.")

    assert error.next_action.endswith(".")
    assert str(error) == f"[{kind.code}] It failed. {error.next_action}"


def test_a_document_error_shows_as_text_what_it_says() -> None:
    error = DocumentError("It is cut off.", code="not_json", next_action="Write the rest.")

    assert str(error) == "[not_json] It is cut off. Write the rest."


def test_the_commands_of_a_next_action_get_the_names_of_the_scene() -> None:
    told = named(f"Try {AGAIN}, or {ANOTHER}; see SCENE_PIPELINE_HOME.", "my film", "scene_1")

    assert told == (
        "Try `scene-pipeline run 'my film' --scene scene_1`, or"
        " `scene-pipeline run 'my film' --regenerate --scene scene_1`; see SCENE_PIPELINE_HOME."
    )


@pytest.mark.parametrize(
    "name", ['it\'s a "b"', "SCENE", "PROJECT", "a SCENE of two", "a `tick`", "$(date)", "\\ *;"]
)
def test_any_name_stays_one_word_of_a_command_and_itself(name: str) -> None:
    told = named(f"Try `scene-pipeline lock PROJECT {quoted(name)}`, or {AGAIN}.", name, "PROJECT")

    lock, again = re.findall(r"`scene-pipeline (.+?)`(?=[,.])", told)
    assert shlex.split(lock) == ["lock", name, name]
    assert shlex.split(again) == ["run", name, "--scene", "PROJECT"]
    assert named(told, "other", "other") == told


# The commands that are told ---------------------------------------------------------------------


@cache
def _program() -> Any:
    return typer.main.get_command(app)


def _wrong(words: list[str]) -> str | None:
    """What is wrong with a command line; None where it could be typed."""
    command, rest = _program(), words
    while rest and getattr(command, "commands", None) is not None and not rest[0].startswith("-"):
        known = command.commands
        if rest[0] not in known:
            return None if rest[0] == "..." else f"no command {rest[0]!r}"
        command, rest = known[rest[0]], rest[1:]
    options = {name for each in command.params for name in each.opts} | {"--help", "-h"}
    unknown = [
        word.partition("=")[0].rstrip(".,:;)")
        for word in rest
        if re.match(r"--?[a-z]", word) and word.partition("=")[0].rstrip(".,:;)") not in options
    ]
    return f"no option {unknown[0]!r}" if unknown else None


def _words(line: str) -> list[str]:
    line = re.split(r"\s(?:#|\||&&|>|<|;)\s?|\\$|[…]", line)[0]
    try:
        return shlex.split(line)
    except ValueError:  # half a quotation, where the line goes on elsewhere
        return line.split()


def _text(node: ast.expr) -> str:
    """A literal, with X in place of what is put in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(_text(part) if isinstance(part, ast.Constant) else "X" for part in parts)


def _lines_of_code(path: Path) -> Iterator[list[str]]:
    tree = ast.parse(path.read_text("utf-8"))
    inner = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in inner:
            text = " ".join(_text(node).split())
            quoted = re.findall(r"`scene-pipeline ([a-z.-][^`]*)`", text)
            for line in quoted or re.findall(r"^scene-pipeline (.+)", text):
                yield _words(line)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"command", "_command"}:
            given = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
            if given and isinstance(given[0], ast.Constant):
                yield [str(arg.value) if isinstance(arg, ast.Constant) else "X" for arg in given]


_NAMES = re.compile(r"(?:^|\.)(?:project_key|scene_id|key|before|target)$")


def _unquoted(path: Path) -> Iterator[str]:
    """Names of people's own that stand in a command as they are: a shell may take them apart."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        text = "".join(
            f"\x00{ast.unparse(part.value)}\x00"
            if isinstance(part, ast.FormattedValue)
            else _text(part)
            for part in node.values
        )
        for line in re.findall(r"`scene-pipeline ([^`]*)`", text):
            yield from (put for put in line.split("\x00")[1::2] if _NAMES.search(put))


def test_names_in_the_commands_that_the_program_tells_are_quoted() -> None:
    wrong = [(path.name, put) for path in PACKAGE.rglob("*.py") for put in _unquoted(path)]

    assert wrong == []


def test_commands_told_by_the_program_exist() -> None:
    told = [(path, words) for path in PACKAGE.rglob("*.py") for words in _lines_of_code(path)]
    wrong = [(path.name, " ".join(w), _wrong(w)) for path, w in told if _wrong(w) is not None]

    assert wrong == []
    assert len(told) > 60


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_told_by_a_page_exist(path: Path) -> None:
    lines = re.findall(
        r"(?:^|[`$] ?|bin/)scene-pipeline ([^`\n]+)", path.read_text("utf-8"), flags=re.MULTILINE
    )
    wrong = [(line, _wrong(_words(line))) for line in lines if _wrong(_words(line)) is not None]

    assert wrong == []
