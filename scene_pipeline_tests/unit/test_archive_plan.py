"""Which partition keys of archived projects may go: never one that a run may still write to."""

import pytest

from scene_pipeline.database.archived import ArchivedProject
from scene_pipeline.pipeline.upkeep.archive_plan import (
    HeldKeys,
    plan_archive,
    projects_of_libraries,
)

KEYS = ["old/s1", "film/s1", "old/s2", "gone/s1", "film/s2", "other%20one/s1"]


def archived(*keys: str, unfinished: str = "") -> list[ArchivedProject]:
    open_ones = [unfinished == what for what in ("generation", "launch", "import")]
    return [ArchivedProject(key, *open_ones) for key in keys]


def test_keys_of_archived_projects_go_and_all_others_stay() -> None:
    plan = plan_archive(archived("old", "other one"), KEYS, HeldKeys())

    assert plan.scene_keys == {"old": ["old/s1", "old/s2"], "other one": ["other%20one/s1"]}
    assert plan.waiting == {}


def test_a_project_without_scenes_gives_up_its_own_key() -> None:
    assert plan_archive(archived("empty"), KEYS, HeldKeys()).scene_keys == {"empty": []}


@pytest.mark.parametrize(
    "held",
    [
        HeldKeys(projects=frozenset({"old"})),
        HeldKeys(ranges=(("old/s2", "old/s2"),)),
        HeldKeys(ranges=(("old", "old"),)),  # its contact sheet is being drawn
        HeldKeys(ranges=(("old/s1", "old/s2"),)),
        HeldKeys(ranges=(("film/s1", "gone/s1"),)),  # a range from the UI, across projects
    ],
)
def test_a_project_that_a_run_holds_waits(held: HeldKeys) -> None:
    plan = plan_archive(archived("old", "other one"), KEYS, held)

    assert plan.scene_keys == {"other one": ["other%20one/s1"]}
    assert plan.waiting == {"old": "a run is under way"}


@pytest.mark.parametrize(
    "held",
    [
        HeldKeys(is_everything=True),
        HeldKeys(ranges=(("film/s1", "film/unknown"),)),
        HeldKeys(ranges=(("film/unknown", "film/s2"),)),
    ],
)
def test_where_it_cannot_be_told_everything_waits(held: HeldKeys) -> None:
    plan = plan_archive(archived("old"), KEYS, held)

    assert plan.scene_keys == {}
    assert set(plan.waiting) == {"old"}


def test_what_is_not_finished_waits() -> None:
    unfinished = [
        *archived("old", unfinished="generation"),
        *archived("gone", unfinished="launch"),
        *archived("film", unfinished="import"),
    ]

    plan = plan_archive(unfinished, KEYS, HeldKeys())

    assert plan.scene_keys == {}
    assert plan.waiting == {
        "old": "a generation is not finished",
        "gone": "a run was asked for",
        "film": "an import is not finished",
    }


def test_a_run_on_a_library_holds_its_project() -> None:
    """One whose key is spelled like the shared library's included."""
    plan = plan_archive(archived("_library", "old"), KEYS, HeldKeys(ranges=(("_library",) * 2,)))
    held = plan_archive(
        archived("_library", "old"), KEYS, HeldKeys(ranges=(("%5Flibrary",) * 2, ("old",) * 2))
    )

    assert plan.waiting == {"_library": "a run is under way"}
    assert set(held.waiting) == {"_library", "old"}


def test_keys_of_libraries_have_owners_but_for_the_shared_one() -> None:
    keys = ["_library", "%5Flibrary", "old", "other%20one", "a,b"]

    assert projects_of_libraries(keys) == {"_library", "old", "other one"}


def test_keys_that_are_not_ours_are_left_alone() -> None:
    plan = plan_archive(archived("old"), ["%zz/a", "a,b", "old/s1"], HeldKeys())

    assert plan.scene_keys == {"old": ["old/s1"]}
