"""People choose versions and lock frames; nothing is paid, and nobody undoes another's choice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline.pipeline.orders import StageDone
from scene_pipeline.pipeline.projects.promotion import (
    LockChange,
    Promotion,
    promote,
    set_scene_locks,
)
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, assert_invariants, film

EDITED = "A lighthouse at dusk"


def choose(
    studio: Studio, version: int, scene_id: str = "scene_1", expected: int | None = None
) -> Promotion:
    async def work(services: Services) -> Promotion:
        async with services.pool.connection() as conn:
            return await promote(
                conn, services.settings, "film", scene_id, version, expected_current=expected
            )

    return studio.do(work)


def set_lock(studio: Studio, *scene_ids: str, is_locked: bool = True) -> LockChange:
    async def work(services: Services) -> LockChange:
        async with services.pool.connection() as conn:
            return await set_scene_locks(
                conn, services.settings, "film", scene_ids or None, is_locked=is_locked
            )

    return studio.do(work)


def refused(studio: Studio, version: int, scene_id: str = "scene_1") -> str:
    before = studio.sql("SELECT xmin, revision FROM projects")
    with pytest.raises(UsageError) as caught:
        choose(studio, version, scene_id)
    assert studio.sql("SELECT xmin, revision FROM projects") == before
    return caught.value.error_code


def edit(studio: Studio, prompt: str) -> None:
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], prompt)


def state(studio: Studio) -> str:
    [row] = studio.sql("SELECT state FROM scene_status WHERE scene_id = 'scene_1'")
    word: str = row["state"]
    return word


@pytest.fixture
def two(studio: Studio) -> Studio:
    """A film whose first scene has two versions."""
    studio.bring(film(["A lighthouse", "A storm"]))
    studio.run()
    studio.run("scene_1", mode="regenerate", token="again")
    return studio


def test_an_old_version_comes_back_and_the_document_is_corrected(two: Studio) -> None:
    [old] = two.sql("SELECT storage_url FROM scene_images WHERE scene_id = 'scene_1' AND version=1")

    done = choose(two, 1)

    assert (done.version, done.previous_version, done.is_changed) == (1, 2, True)
    assert (done.is_document_changed, done.is_stale, done.is_under_way) == (True, False, False)
    assert two.start_frame("scene_1") == done.url == old["storage_url"]
    assert two.sql("SELECT 1 FROM projects WHERE revision > planned_revision") == []
    assert two.sql("SELECT data FROM pipeline_events WHERE kind = 'version_promoted'") == [
        {"data": {"version": 1, "instead_of": 2, "by": "command"}}
    ]
    assert two.run().statuses == {"scene_1": "kept", "scene_2": "kept"}
    assert two.sql("SELECT count(*) AS n FROM generations") == [{"n": 3}]
    assert_invariants(two)


def test_choosing_what_is_current_changes_nothing(two: Studio) -> None:
    before = two.sql("SELECT * FROM projects"), two.sql("SELECT * FROM scenes")

    done = choose(two, 2)

    assert (done.is_changed, done.is_document_changed, done.previous_version) == (False, False, 2)
    assert (two.sql("SELECT * FROM projects"), two.sql("SELECT * FROM scenes")) == before


def test_a_choice_holds_until_the_words_change_again(two: Studio) -> None:
    edit(two, EDITED)
    two.run(refresh_stale=True)
    done = choose(two, 1)
    assert done.is_stale
    assert state(two) == "current"

    run = two.run(refresh_stale=True)

    assert run.statuses["scene_1"] == "kept"
    assert [
        event.facts["reason"]
        for event in run.events
        if isinstance(event, StageDone)
        and (event.scene.scene_id, event.stage) == ("scene_1", "scene_prompt")
    ] == ["chosen by hand: version 1"]
    edit(two, "A lighthouse at night")
    assert two.run().statuses["scene_1"] == "stale"
    assert two.run(refresh_stale=True).statuses["scene_1"] == "generated"
    edit(two, EDITED)
    assert two.run().statuses["scene_1"] == "kept"
    [row] = two.sql("SELECT version FROM scene_images WHERE scene_id = 'scene_1' AND is_current")
    assert row["version"] == 3, "the choice was forgotten with the next version"
    assert_invariants(two)


def test_choosing_a_stale_frame_says_that_it_is_meant(two: Studio) -> None:
    edit(two, EDITED)
    assert two.run().statuses["scene_1"] == "stale"

    done = choose(two, 2)

    assert (done.is_changed, done.is_stale) == (False, True)
    assert state(two) == "current"
    assert two.run(refresh_stale=True).statuses["scene_1"] == "kept"


def test_what_cannot_be_chosen_is_told(two: Studio) -> None:
    assert refused(two, 9) == "version_unknown"
    assert refused(two, 1, scene_id="scene_9") == "scene_unknown"
    two.sql("UPDATE scene_images SET rejection = 'It is blank.' WHERE version = 1")
    assert refused(two, 1) == "version_rejected"
    two.sql("UPDATE scene_images SET rejection = NULL")
    two.sql(
        "SET scene_pipeline.retention = 'on'; UPDATE scene_images SET storage_status = 'removed',"
        " removed_at = now(), storage_path = NULL WHERE scene_id = 'scene_1' AND version = 1"
    )
    assert refused(two, 1) == "version_removed"


def test_a_picture_that_its_provider_has_no_longer_is_not_put_into_the_document(
    two: Studio,
) -> None:
    two.sql(
        "UPDATE scene_images SET storage_status = 'external', storage_url = 'http://x/y',"
        " external_expires_at = now() WHERE scene_id = 'scene_1' AND version = 1"
    )
    assert refused(two, 1) == "version_expired"


def test_a_scene_that_left_the_document_has_no_frame_to_choose(two: Studio) -> None:
    two.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_1}'")
    assert refused(two, 1) == "scene_gone"


def test_a_scene_whose_entry_cannot_be_used_has_none_either(two: Studio) -> None:
    edit(two, "")
    assert refused(two, 1) == "scene_invalid"


def test_a_locked_scene_keeps_its_frame(two: Studio) -> None:
    assert set_lock(two, "scene_1").changed == ("scene_1",)
    assert refused(two, 1) == "scene_locked"
    assert not choose(two, 2).is_changed
    edit(two, EDITED)
    assert two.run(refresh_stale=True).statuses["scene_1"] == "kept"
    assert state(two) == "locked"

    assert set_lock(two, "scene_1", is_locked=False).changed == ("scene_1",)
    assert two.sql("SELECT wanted_at IS NOT NULL AS due FROM scenes WHERE scene_id='scene_1'") == [
        {"due": True}
    ]
    assert choose(two, 1).is_changed


def test_whoever_saw_another_version_is_told(two: Studio) -> None:
    assert choose(two, 1, expected=2).is_changed
    with pytest.raises(UsageError) as caught:
        choose(two, 2, expected=2)
    assert caught.value.error_code == "version_conflict"
    assert "version 1 is" in caught.value.message


def test_a_picture_under_way_is_told_and_wins_later(two: Studio) -> None:
    failing = Studio(
        two.settings.model_copy(update={"failpoint": "after_stored:raise"}), two.database_url
    )
    failing.run("scene_1", mode="regenerate", token="third")
    arm(None)

    assert choose(two, 1).is_under_way

    assert two.run("scene_1").statuses == {"scene_1": "generated"}
    assert two.sql(
        "SELECT version FROM scene_images WHERE scene_id = 'scene_1' AND is_current"
    ) == [{"version": 3}]
    assert_invariants(two)


def test_a_picture_under_way_of_a_scene_that_is_locked_meanwhile_becomes_a_version(
    two: Studio,
) -> None:
    failing = Studio(
        two.settings.model_copy(update={"failpoint": "after_stored:raise"}), two.database_url
    )
    failing.run("scene_1", mode="regenerate", token="third")
    arm(None)
    set_lock(two, "scene_1")
    url = two.start_frame("scene_1")

    two.run("scene_1")

    assert two.start_frame("scene_1") == url
    assert two.sql(
        "SELECT version, is_current FROM scene_images WHERE scene_id = 'scene_1' ORDER BY version"
    ) == [
        {"version": 1, "is_current": False},
        {"version": 2, "is_current": True},
        {"version": 3, "is_current": False},
    ]
    assert two.sql("SELECT state FROM generations ORDER BY seq DESC LIMIT 1") == [
        {"state": "superseded"}
    ]


def test_all_scenes_are_locked_at_once_or_none(studio: Studio) -> None:
    studio.bring(film(["One", "Two"]))
    studio.run("scene_1")
    with pytest.raises(UsageError, match="no scene 'scene_9'"):
        set_lock(studio, "scene_1", "scene_9")
    assert studio.sql("SELECT 1 FROM scenes WHERE locked") == []

    change = set_lock(studio)

    assert change.changed == ("scene_1", "scene_2")
    assert change.without_frame == ("scene_2",)
    assert studio.run().statuses == {"scene_1": "kept", "scene_2": "generated"}
    assert set_lock(studio, "scene_2").unchanged == ("scene_2",)
    assert studio.sql(
        "SELECT scene_id FROM pipeline_events WHERE kind = 'scene_locked' ORDER BY id"
    ) == [{"scene_id": "scene_1"}, {"scene_id": "scene_2"}]


def at_once(studio: Studio, works: list[Callable[[Connection], Awaitable[object]]]) -> list[object]:
    """Do pieces of work at once, each on a connection of its own; gives what each came to."""

    async def one(services: Services, work: Callable[[Connection], Awaitable[object]]) -> object:
        async with services.pool.connection() as conn:
            return await work(conn)

    async def main(services: Services) -> list[object]:
        await services.pool.resize(2, len(works))
        return await asyncio.gather(
            *(one(services, work) for work in works), return_exceptions=True
        )

    return studio.do(main)


@pytest.mark.parametrize("is_strict", [False, True])
def test_eight_people_choose_at_once(two: Studio, is_strict: bool) -> None:
    two.run("scene_1", mode="regenerate", token="third")

    def chooser(version: int) -> Callable[[Connection], Awaitable[object]]:
        return lambda conn: promote(
            conn,
            two.settings,
            "film",
            "scene_1",
            version,
            expected_current=3 if is_strict else None,
        )

    done = at_once(two, [chooser(1 + number % 2) for number in range(8)])

    winners = [result for result in done if isinstance(result, Promotion)]
    losers = [result for result in done if isinstance(result, UsageError)]
    assert len(winners) + len(losers) == 8
    assert len(winners) == (1 if is_strict else 8)
    assert {error.error_code for error in losers} <= {"version_conflict"}
    assert two.sql("SELECT count(*) AS n FROM scene_images WHERE scene_id='scene_1' AND is_current")
    assert_invariants(two)


def test_choosing_races_with_locking_and_with_runs(two: Studio) -> None:
    """Whatever comes first: one current version, and the document holds it."""
    for turn in range(3):
        edit(two, f"{EDITED} {turn}")
        works: list[Callable[[Connection], Awaitable[object]]] = [
            lambda conn: promote(conn, two.settings, "film", "scene_1", 1),
            lambda conn: set_scene_locks(conn, two.settings, "film", None, is_locked=True),
            lambda conn: promote(conn, two.settings, "film", "scene_1", 2),
            lambda conn: set_scene_locks(conn, two.settings, "film", None, is_locked=False),
        ]
        done = at_once(two, works * 2)
        odd = [result for result in done if isinstance(result, BaseException)]
        assert all(isinstance(error, UsageError) for error in odd), odd
        set_lock(two, is_locked=False)
        two.run(refresh_stale=True)
        assert_invariants(two)
