"""Every error code that the package can tell, read from its source.

A code is a text that is given to something called `code` (or `error_code`, `refusal_code`): an
argument by name, an argument at that parameter's place, an attribute of an error's class, a local
of that name. Codes of tables and of SQL are read as well. What only hands a code on needs no line
of its own; the few places that build one are named in `BUILT`.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar, get_args

import scene_pipeline
from scene_pipeline.pipeline.upkeep.drift import DriftKind, LibraryDriftKind

T = TypeVar("T")

PACKAGE = Path(scene_pipeline.__file__).parent
CODE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
PARAMETERS = frozenset({"code", "error_code", "refusal_code"})

TABLES = {
    ("providers/fal_errors.py", "_REFUSALS"),
    ("providers/replicate_errors.py", "_REFUSALS"),
    ("providers/pollinations_errors.py", "_REFUSALS"),
}
"""Mappings to pairs, of which the first is a code."""
LISTS = {("scenes/problems.py", "_PROMPT_CODES")}
"""Mappings to codes."""
KEYED = {("pipeline/planning/failures.py", "ANOTHER_MAY_DO_BETTER")}
"""Mappings by code."""

BUILT = {
    "media/redirects.py": {"f'redirect_{reason}'", "f'redirect_{error.error_code}'"},
    "media/responses.py": {"f'http_status_{status}'", "wanted.refusal_code"},
    "providers/fal_errors.py": {"_failure_code(complaint.error_type)"},
    "scenes/problems.py": {"_code(error, steps)"},
}
"""Expressions that make a code; the page describes what they make."""
FAMILIES = ("redirect_*", "http_status_*", "fal:*")
"""How the page writes codes that are built."""

_HANDED_ON = re.compile(
    r"""(?:.*[.](?:\w*code)|.*\['\w*code'\]\)?|\w+\(\w+, 'code'\)|code_of\(\w+\)|(?:error_)?code)"""
)
_BRACKETED = re.compile(r"""["']\[([a-z][a-z_]+)\] """)
_SQL = re.compile(r"\b(?:error|problem)_code\s*=\s*'(\w+)'")
_SQL_LIST = re.compile(r"\berror_code IN \(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Found:
    """What the source holds."""

    codes: Mapping[str, tuple[str, ...]]
    """Every code, with the files that tell it."""
    built: Mapping[str, frozenset[str]]
    """Expressions that give a code and are neither a text nor hand one on, by file."""


@cache
def collect() -> Found:
    """Read the whole package."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    built: defaultdict[str, set[str]] = defaultdict(set)
    texts = {
        _name(path): path.read_text("utf-8")
        for path in PACKAGE.rglob("*.*")
        if path.suffix in {".py", ".sql"}
    }
    trees = {name: ast.parse(text) for name, text in texts.items() if name.endswith(".py")}
    nodes = {name: tuple(ast.walk(tree)) for name, tree in trees.items()}
    constants = {name: _constants(tree) for name, tree in trees.items()}
    signatures = {name: _signatures(nodes[name]) for name in trees}
    for name, tree in trees.items():
        known = constants[name] | _imported(nodes[name], constants)
        places = _imported(nodes[name], signatures) | signatures[name]
        for value in _values(nodes[name], places):
            for part in _alternatives(value):
                text = _text(part, known)
                if text is not None:
                    codes[text].add(name)
                elif not isinstance(part, ast.Constant):
                    expression = ast.unparse(part)
                    if not _HANDED_ON.fullmatch(expression):
                        built[name].add(expression)
        for text in _table_codes(name, tree):
            codes[text].add(name)
    for name, sql in texts.items():
        listed = ", ".join(_SQL_LIST.findall(sql))
        told = (*_SQL.findall(sql), *_BRACKETED.findall(sql), *re.findall(r"'(\w+)'", listed))
        for text in told:
            codes[text].add(name)
    return Found(
        {code: tuple(sorted(files)) for code, files in sorted(codes.items())},
        {name: frozenset(expressions) for name, expressions in built.items()},
    )


def drift_kinds() -> frozenset[str]:
    """Kinds of drift, which `reconcile` shows as it shows codes."""
    return frozenset((*get_args(DriftKind), *get_args(LibraryDriftKind)))


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts that the module names, as in `LOCK_LOST: Final = "lock_lost"`."""
    found: dict[str, str] = {}
    for target, value in _assignments(tree):
        text = value.value if isinstance(value, ast.Constant) else None
        if isinstance(target, ast.Name) and isinstance(text, str):
            found[target.id] = text
    return found


def _assignments(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield statement.target, statement.value
        elif isinstance(statement, ast.Assign):
            yield statement.targets[0], statement.value


def _signatures(nodes: Sequence[ast.AST]) -> dict[str, int]:
    """At which place functions and classes of the module take a code."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        elif isinstance(node, ast.ClassDef):
            names = [
                statement.target.id
                for statement in node.body
                if isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and "ClassVar" not in ast.unparse(statement.annotation)
            ]
        else:
            continue
        for place, name in enumerate(names):
            if name in PARAMETERS:
                found[node.name] = place
    return found


def _imported(nodes: Sequence[ast.AST], of_modules: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    """What the module imports by name from others of the package."""
    found: dict[str, T] = {}
    for node in nodes:
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
            "scene_pipeline."
        ):
            continue
        stem = str(node.module).partition(".")[2].replace(".", "/")
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            names = of_modules.get(file, {})
            found |= {a.asname or a.name: names[a.name] for a in node.names if a.name in names}
    return found


def _values(nodes: Sequence[ast.AST], places: Mapping[str, int]) -> Iterator[ast.expr]:
    """Every expression that is given to something called a code."""
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from (word.value for word in node.keywords if word.arg in PARAMETERS)
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            called = node.func.id if isinstance(node.func, ast.Name) else called
            place = places.get(called or "")
            given = [] if place is None else node.args[: place + 1]
            if place is not None and len(given) == place + 1 and not _has_starred(given):
                yield given[place]
        elif isinstance(node, ast.arguments):
            named = zip((*node.posonlyargs, *node.args)[::-1], node.defaults[::-1], strict=False)
            yield from (value for name, value in named if name.arg in PARAMETERS)
            keyword = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            yield from (v for name, v in keyword if name.arg in PARAMETERS and v is not None)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            is_named = any(isinstance(one, ast.Name) and one.id == "code" for one in targets)
            if is_named and not _is_exit_code(node.value):
                yield node.value


def _has_starred(arguments: Sequence[ast.expr]) -> bool:
    return any(isinstance(argument, ast.Starred) for argument in arguments)


def _is_exit_code(value: ast.expr) -> bool:
    """Whether a local called `code` is no error's: the exit code of a program, of a status."""
    return isinstance(value, ast.Call | ast.Await) or (
        isinstance(value, ast.Constant) and not isinstance(value.value, str)
    )


def _alternatives(value: ast.expr) -> Iterator[ast.expr]:
    if isinstance(value, ast.IfExp):
        yield from (*_alternatives(value.body), *_alternatives(value.orelse))
    elif isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from _alternatives(part)
    else:
        yield value


def _text(value: ast.expr, known: Mapping[str, str]) -> str | None:
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) and value.value else None
    name = ast.unparse(value).rpartition(".")[2]
    return known.get(name)


def _table_codes(name: str, tree: ast.Module) -> Iterator[str]:
    for target, value in _assignments(tree):
        place = (name, ast.unparse(target))
        for node in ast.walk(value) if place in TABLES | LISTS | KEYED else ():
            if not isinstance(node, ast.Dict):
                continue
            chosen: Sequence[ast.expr | None] = node.keys if place in KEYED else node.values
            for part in chosen:
                first = part.elts[0] if isinstance(part, ast.Tuple) else part
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value
