"""The pages name tests, files, variables and commands: each of them is there."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import scene_pipeline
import scene_pipeline_tests
from scene_pipeline.cli.app import app
from scene_pipeline.settings import Settings
from scene_pipeline.storage.bucket_diagnosis import public_read_policy

PACKAGE = Path(scene_pipeline.__file__).parent
TESTS = Path(scene_pipeline_tests.__file__).parent
DOCS = PACKAGE.parent / "docs"
PAGE = (DOCS / "guarantees.md").read_text("utf-8")
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


def commands_of(group: typer.Typer, before: str = "") -> Iterator[str]:
    """Every command as it is typed, those of groups with their group: `storage copy`."""
    for command in group.registered_commands:
        yield f"{before}{command.name or getattr(command.callback, '__name__', '')}"
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands_of(inner.typer_instance, f"{before}{inner.typer_instance.info.name} ")


def unknown_commands(page: str) -> set[str]:
    """Commands that a page names and that are none; one word of a group is not enough."""
    known = set(commands_of(app))
    groups = {command.partition(" ")[0] for command in known if " " in command}
    named = re.findall(r"scene-pipeline ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", page)
    typed = {f"{one} {two}".strip() if one in groups else one for one, two in named}
    return typed - known


def test_commands_of_groups_are_known_by_both_words() -> None:
    page = (
        "`scene-pipeline storage copy --to X`, `scene-pipeline run film`, `scene-pipeline doctor`"
    )

    assert unknown_commands(page) == set()
    assert unknown_commands("scene-pipeline storage move") == {"storage move"}
    assert unknown_commands("scene-pipeline assets") == {"assets"}
    assert unknown_commands("scene-pipeline fly film") == {"fly"}


@pytest.mark.parametrize("name", ["guarantees", "storage", "library", "operating"])
def test_every_named_variable_and_command_exists(name: str) -> None:
    page = (DOCS / f"{name}.md").read_text("utf-8")
    prefixes = "SCENE_PIPELINE|S3|GCS|ASSET|SSL"
    variables = set(re.findall(rf"(?<![A-Z_])(?:{prefixes})_[A-Z_]*[A-Z](?![A-Z_*])", page))
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}

    assert variables <= known
    assert unknown_commands(page) == set()


def test_the_page_on_storage_names_every_variable_of_a_store() -> None:
    page = (DOCS / "storage.md").read_text("utf-8")
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}

    of_stores = {name for name in known if name.startswith(("S3_", "GCS_"))}
    of_stores |= {f"SCENE_PIPELINE_{name}" for name in ("STORAGE", "URL_MODE", "SIGNING_KEY")}
    assert [name for name in sorted(of_stores) if f"`{name}" not in page] == []


def test_every_promise_says_how_it_is_kept_and_tested_and_what_remains() -> None:
    sections = re.split(r"^## \d+\. ", PAGE, flags=re.MULTILINE)[1:]

    assert len(sections) == 12
    for section in sections:
        assert section.count("**How.**") == 1
        assert section.count("**Tested.**") == 1
        assert section.count("**What remains.**") == 1


def test_the_policy_that_the_page_shows_is_the_one_that_doctor_prints() -> None:
    page = (DOCS / "storage.md").read_text("utf-8")
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    shown = next(block for block in blocks if "Sid" in block)

    assert json.loads(shown) == json.loads(public_read_policy("frames", ""))
