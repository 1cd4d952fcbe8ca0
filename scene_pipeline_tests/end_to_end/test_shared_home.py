"""Tests that share a data directory have projects of their own, whichever run before them."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def keys_of(test: ast.FunctionDef) -> set[str]:
    """Keys of projects that a test gives its films."""
    return {
        keyword.value.value
        for call in ast.walk(test)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "key"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    }


def sharing_tests() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Tests that stand on the fixture `shared_home`, by way of other fixtures or directly."""
    known = functions_of(Path(__file__).with_name("conftest.py"))
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        functions = known | functions_of(path)
        for name, function in functions.items():
            if name.startswith("test_") and stands_on_shared_home(name, functions):
                yield f"{path.name}::{name}", function


def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def stands_on_shared_home(name: str, functions: dict[str, ast.FunctionDef]) -> bool:
    if name == "shared_home" or name not in functions:
        return name == "shared_home"
    taken = [argument.arg for argument in functions[name].args.args]
    return any(stands_on_shared_home(fixture, functions) for fixture in taken if fixture != name)


def test_no_two_tests_share_a_project() -> None:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for name, test in sharing_tests():
        for key in keys_of(test):
            owners[key].append(name)

    assert len(owners) > 20
    assert {key: names for key, names in owners.items() if len(names) > 1} == {}
