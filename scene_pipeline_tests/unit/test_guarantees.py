"""docs/guarantees.md names tests and files: each of them is there."""

import ast
import re
from pathlib import Path

import scene_pipeline
import scene_pipeline_tests
from scene_pipeline.cli.app import app
from scene_pipeline.settings import Settings

PACKAGE = Path(scene_pipeline.__file__).parent
TESTS = Path(scene_pipeline_tests.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "guarantees.md").read_text("utf-8")
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)
NAMED_TESTS = [name for name in QUOTED if re.match(r"\w+/test_\w+\.py", name)]
NAMED_FILES = [
    name for name in QUOTED if re.fullmatch(r"(?!scene_)(?:\w+/)+((?!test_)\w+\.py)?", name)
]


def names_in(path: Path) -> set[str]:
    """Every test of a file as pytest names it: `test_x`, or `TestGroup::test_x`."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        group = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        names |= {f"{group}{m.name}" for m in members if isinstance(m, ast.FunctionDef)}
    return names


def test_every_named_test_exists() -> None:
    assert len(NAMED_TESTS) > 50
    missing = []
    for name in NAMED_TESTS:
        file, _, test = name.partition("::")
        path = TESTS / file
        if not path.is_file() or (test and test not in names_in(path)):
            missing.append(name)

    assert missing == []


def test_every_named_file_exists() -> None:
    assert len(NAMED_FILES) > 20
    assert [name for name in NAMED_FILES if not (PACKAGE / name).exists()] == []


def test_every_named_variable_and_command_exists() -> None:
    variables = set(re.findall(r"SCENE_PIPELINE_[A-Z_]+", PAGE))
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    commands = set(re.findall(r"scene-pipeline ([a-z]+)", PAGE))
    registered = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }

    assert variables <= known
    assert commands <= registered


def test_every_promise_says_how_it_is_kept_and_tested_and_what_remains() -> None:
    sections = re.split(r"^## \d+\. ", PAGE, flags=re.MULTILINE)[1:]

    assert len(sections) == 12
    for section in sections:
        assert section.count("**How.**") == 1
        assert section.count("**Tested.**") == 1
        assert section.count("**What remains.**") == 1
