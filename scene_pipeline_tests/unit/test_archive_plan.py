"""Which partition keys of archived projects may go: never one that a run may still write to."""

import pytest

from scene_pipeline.database.archived import ArchivedProject
from scene_pipeline.pipeline.upkeep.archive_plan import HeldKeys, plan_archive

KEYS = ["old/s1", "film/s1", "old/s2", "gone/s1", "film/s2", "other%20one/s1"]


def archived(*keys: str, generation: bool = False, launch: bool = False) -> list[ArchivedProject]:
    return [ArchivedProject(key, generation, launch) for key in keys]


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
    unfinished = archived("old", generation=True) + archived("gone", launch=True)

    plan = plan_archive(unfinished, KEYS, HeldKeys())

    assert plan.scene_keys == {}
    assert plan.waiting == {
        "old": "a generation is not finished",
        "gone": "a run was asked for",
    }


def test_keys_that_are_not_ours_are_left_alone() -> None:
    plan = plan_archive(archived("old"), ["%zz/a", "a,b", "old/s1"], HeldKeys())

    assert plan.scene_keys == {"old": ["old/s1"]}
