"""What is decided about a scene: reuse, hand-picked versions, locks and archived projects."""

from dataclasses import replace

import pytest

from scene_pipeline.scenes.planning import LastFailure, Reusable, ReuseKind, Standing, decide

MISSING = Standing(
    is_valid=True,
    is_locked=False,
    has_frame=False,
    is_stale=False,
    stale_causes=(),
    has_open_generation=False,
    has_request=False,
    is_in_document=False,
    last_failure=None,
)
CURRENT = replace(MISSING, has_frame=True, is_in_document=True)
STALE = replace(CURRENT, is_stale=True, stale_causes=("prompt",))
FINAL = LastFailure(is_same_content=True, is_retryable=False, is_uncharged=False)


def having(kind: ReuseKind) -> Reusable:
    return Reusable(kind, "version 2")


def action(standing: Standing, *, regenerate: bool = False, refresh_stale: bool = False) -> str:
    return decide(standing, regenerate=regenerate, refresh_stale=refresh_stale).action


@pytest.mark.parametrize("kind", ["own", "renamed", "identical"])
@pytest.mark.parametrize("failure", [None, FINAL])
def test_a_scene_without_frame_takes_what_exists(
    kind: ReuseKind, failure: LastFailure | None
) -> None:
    assert action(replace(MISSING, reusable=having(kind), last_failure=failure)) == "reuse"


@pytest.mark.parametrize(
    ("kind", "refresh_stale", "expected"),
    [
        ("own", False, "reuse"),
        ("own", True, "reuse"),
        ("identical", False, "stale"),
        ("identical", True, "reuse"),
    ],
)
def test_a_stale_scene_goes_back_by_itself_and_takes_others_only_in_place_of_paying(
    kind: ReuseKind,
    refresh_stale: bool,
    expected: str,
) -> None:
    standing = replace(STALE, reusable=having(kind))
    assert action(standing, refresh_stale=refresh_stale) == expected


@pytest.mark.parametrize("standing", [MISSING, STALE])
def test_whoever_asks_for_a_new_version_gets_one(standing: Standing) -> None:
    standing = replace(standing, reusable=having("own"))
    assert action(standing, regenerate=True) == "generate"
    assert action(replace(standing, has_request=True)) == "generate"


def test_what_is_under_way_is_finished_first() -> None:
    assert action(replace(STALE, reusable=having("own"), has_open_generation=True)) == "resume"


def test_a_version_chosen_by_hand_is_not_replaced_by_itself() -> None:
    chosen = replace(STALE, chosen_version=1, reusable=having("own"))
    for refresh_stale in (False, True):
        decision = decide(chosen, regenerate=False, refresh_stale=refresh_stale)
        assert (decision.action, decision.reason) == ("keep", "chosen by hand: version 1")
    assert action(chosen, regenerate=True) == "generate"
    assert action(replace(chosen, is_in_document=False)) == "republish"


def test_a_locked_frame_is_kept_whatever_exists() -> None:
    locked = replace(STALE, is_locked=True, reusable=having("own"))
    assert action(locked, regenerate=True, refresh_stale=True) == "keep"


def test_in_an_archived_project_only_what_was_sent_goes_on() -> None:
    def archived(standing: Standing) -> str:
        return action(replace(standing, is_archived=True), regenerate=True, refresh_stale=True)

    assert archived(CURRENT) == "keep"
    assert archived(replace(STALE, reusable=having("own"))) == "keep"
    assert archived(replace(CURRENT, is_in_document=False)) == "republish"
    assert archived(replace(MISSING, reusable=having("renamed"))) == "failed"
    assert archived(replace(MISSING, has_open_generation=True)) == "resume"
    assert archived(replace(MISSING, has_open_generation=True, is_unsent=True)) == "failed"
    decision = decide(replace(MISSING, is_archived=True), regenerate=False, refresh_stale=False)
    assert decision.code == "project_archived"


def test_the_reason_names_the_version() -> None:
    decision = decide(
        replace(MISSING, reusable=Reusable("renamed", "version 3 of scene scene_1")),
        regenerate=False,
        refresh_stale=False,
    )
    assert decision.reason == (
        "version 3 of scene scene_1 was made from exactly this, and its scene is gone"
    )
