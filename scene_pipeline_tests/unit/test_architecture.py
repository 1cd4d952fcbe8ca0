"""Imports point down: the order of the rooms is enforced, not hoped for."""

import ast
import sys
from pathlib import Path

import pytest

import scene_pipeline

PACKAGE = Path(scene_pipeline.__file__).parent
# From the top down. Rooms of one line stand beside each other and do not know each other.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"cli", "api", "definitions"}),
    frozenset({"defs", "drill"}),
    frozenset({"pipeline"}),
    frozenset({"providers"}),
    frozenset({"media"}),
    frozenset({"storage"}),
    frozenset({"database"}),
    frozenset({"scenes"}),
    frozenset({"telemetry"}),
    frozenset({"settings", "egress", "findings", "processes"}),
    frozenset({"env_file"}),
    frozenset({"errors"}),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Beside the order, each with its reason.
EXCEPTIONS = {
    # a command of this process assembles the code location anew, with its own resource
    ("defs.launch", "definitions"),
}
# The rooms within `pipeline`, likewise; what stands beside them is shared by all.
USE_CASE_FLOORS = (
    "due",
    "inbox",
    "alerts",
    "upkeep",
    "reporting",
    "making",
    "planning",
    "library",
    "references",
    "projects",
    "checking",
    "keeping",
)
PURE_ROOM_IMPORTS = {"pydantic", "pandas", "jsonschema", "scene_pipeline"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> set[str]:
    """Absolute names of everything a module imports, also within functions and type checks."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module is not None
            if node.module == "scene_pipeline":
                names.update(f"scene_pipeline.{alias.name}" for alias in node.names)
            else:
                names.add(node.module)
    return names


def imported_rooms(path: Path) -> set[str]:
    own = (name.split(".") for name in imports_of(path) if name.startswith("scene_pipeline."))
    return {parts[1] for parts in own if not parts[1].startswith("__")}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    module = name_of(path)
    room = module.split(".")[0]
    assert room in FLOOR_OF, f"{module} is in no room: give it a floor"

    wrong = {
        other
        for other in imported_rooms(path)
        if other != room and FLOOR_OF[other] <= FLOOR_OF[room] and (module, other) not in EXCEPTIONS
    }
    # doors may call upon the Dagster assembly where they launch
    if room in ("cli", "api"):
        wrong -= {"definitions", "api"}

    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}, which is not below it"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_the_dagster_rooms_import_dagster(path: Path) -> None:
    module = name_of(path)
    dagster = {name for name in imports_of(path) if name.split(".")[0].startswith("dagster")}

    if module.split(".")[0] not in ("defs", "definitions"):
        assert not dagster
    if module != "defs.event_batches":
        assert not {name for name in dagster if "._" in name}


@pytest.mark.parametrize(
    "path", [path for path in modules() if name_of(path).startswith("scenes")], ids=name_of
)
def test_the_pure_room_imports_no_world(path: Path) -> None:
    foreign = {name.split(".")[0] for name in imports_of(path)} - set(sys.stdlib_module_names)

    assert foreign <= PURE_ROOM_IMPORTS


def test_dagster_reads_annotations_at_run_time() -> None:
    for path in (PACKAGE / "defs").glob("*.py"):
        assert "__future__" not in imports_of(path)


@pytest.mark.parametrize("room", USE_CASE_FLOORS)
def test_use_cases_import_down_their_own_floors(room: str) -> None:
    above = set(USE_CASE_FLOORS[: USE_CASE_FLOORS.index(room)])
    imported = {
        name.split(".")[2]
        for path in (PACKAGE / "pipeline" / room).glob("*.py")
        for name in imports_of(path)
        if name.startswith("scene_pipeline.pipeline.")
    }
    assert imported, f"pipeline.{room} is empty or has moved"
    assert imported.isdisjoint(above)
