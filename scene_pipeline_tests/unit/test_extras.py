"""What an extra's code imports is declared, rather than brought along by something else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def imported(file: Path) -> Iterator[str]:
    """Top-level names of the foreign packages that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            modules = [node.module]
        else:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        tops = {module.partition(".")[0] for module in modules}
        yield from tops - sys.stdlib_module_names - {"scene_pipeline"}


def declared(requirements: Sequence[str]) -> set[str]:
    """Names of distributions, in the one spelling that compares."""
    names = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {normal(found[0]) for found in names if found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("extra", "files"), [("otel", "scene_pipeline/telemetry/ot*.py"), ("gcs", "**/gcs_client.py")]
)
def test_an_extra_names_what_its_code_imports(extra: str, files: str) -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    named = declared([*project["dependencies"], *project["optional-dependencies"][extra]])
    known = packages_distributions()

    found = {name for file in (TOP).glob(files) for name in imported(file)}

    assert "requests" in found
    unnamed = {name for name in found if not named & set(map(normal, known.get(name, [name])))}
    assert unnamed == set()
