"""What exists is not bought again: scenes that go back, are renamed, come back, are asked twice."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scene_pipeline.errors import SceneError
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider


@pytest.fixture
def paying(database_url: str, tmp_path: Path, provider: ScriptedProvider) -> Studio:
    """The pipeline with that service."""
    settings = provider.settings(
        tmp_path / "home",
        ambiguous_settle_seconds=0.2,
    )
    return Studio(settings, database_url, {"fal": provider})


def paid(provider: ScriptedProvider) -> int:
    return len(provider.accepted)


def words(studio: Studio, scene_id: str, prompt: str) -> None:
    studio.edit(["scenes", scene_id, "scene_frame_prompt"], prompt)


def rename(studio: Studio, old: str, new: str) -> None:
    """Give a scene another id, as an editor does that knows nothing of our URLs."""
    studio.sql(
        "UPDATE projects SET master_json = jsonb_set(master_json #- ARRAY['scenes', %s],"
        " ARRAY['scenes', %s], (master_json #> ARRAY['scenes', %s]) - 'scene_start_frame')",
        old,
        new,
        old,
    )


def current(studio: Studio, scene_id: str = "scene_1") -> int | None:
    rows = studio.sql(
        "SELECT version FROM scene_images WHERE scene_id = %s AND is_current", scene_id
    )
    return rows[0]["version"] if rows else None


def failing_at(studio: Studio, place: str) -> Studio:
    settings = studio.settings.model_copy(update={"failpoint": f"{place}:raise"})
    return replace(studio, settings=settings)


def run_until(studio: Studio, place: str, scene_id: str) -> None:
    """A run that breaks at a named place."""
    with suppress(SceneError):  # a run that breaks before its first scene
        assert failing_at(studio, place).run(scene_id).statuses == {scene_id: "failed"}
    arm(None)


def test_a_scene_that_is_edited_back_gets_its_old_frame_for_nothing(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film(["A lighthouse"]))
    first = paying.run().outcomes["scene_1"].frame
    words(paying, "scene_1", "A lighthouse at dusk")
    paying.run(refresh_stale=True)
    assert (paid(provider), current(paying)) == (2, 2)
    words(paying, "scene_1", "A lighthouse")

    run = paying.run()

    assert run.statuses == {"scene_1": "kept"}
    assert run.outcomes["scene_1"].cost_usd == 0
    assert (paid(provider), current(paying)) == (2, 1)
    assert first is not None
    assert paying.start_frame("scene_1") == first.url
    assert paying.sql("SELECT state FROM scene_status") == [{"state": "current"}]
    assert paying.run().stages("scene_1"), "and again, nothing happens"
    assert paying.sql("SELECT count(*) AS n FROM scene_images") == [{"n": 2}]
    assert_invariants(paying)


def test_what_was_planned_for_words_that_are_gone_is_given_up_and_nothing_is_bought(
    paying: Studio, provider: ScriptedProvider
) -> None:
    """An edit whose new frame waited for the budget, taken back before it was sent."""
    paying.bring(film(["A lighthouse"]))
    paying.run(mode="regenerate", token="backfill")
    words(paying, "scene_1", "A storm")
    with pytest.raises(SceneError, match="after_plan"):
        failing_at(paying, "after_plan").run(refresh_stale=True)
    arm(None)
    assert paying.sql("SELECT 1 FROM generations WHERE state = 'planned'")
    words(paying, "scene_1", "A lighthouse")

    assert paying.run().statuses == {"scene_1": "kept"}

    assert (paid(provider), current(paying)) == (1, 1)
    assert_invariants(paying)


def test_the_newest_version_of_the_same_words_is_taken(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film(["A lighthouse"]))
    paying.run()
    paying.run(mode="regenerate", token="again")
    words(paying, "scene_1", "A storm")
    paying.run(refresh_stale=True)
    words(paying, "scene_1", "A lighthouse")

    paying.run()

    assert (paid(provider), current(paying)) == (3, 2)
    assert_invariants(paying)


@pytest.mark.parametrize("change", ["rejection = 'It is blank.'", "removed"])
def test_what_is_not_sound_is_not_taken(
    paying: Studio, provider: ScriptedProvider, change: str
) -> None:
    paying.bring(film(["A lighthouse"]))
    paying.run()
    words(paying, "scene_1", "A storm")
    paying.run(refresh_stale=True)
    if change == "removed":
        change = "storage_status = 'removed', removed_at = now(), storage_path = NULL"
    paying.sql(
        f"SET scene_pipeline.retention = 'on'; UPDATE scene_images SET {change} WHERE version = 1"  # noqa: S608  # ours
    )
    words(paying, "scene_1", "A lighthouse")

    assert paying.run().statuses == {"scene_1": "stale"}
    assert (paid(provider), current(paying)) == (2, 2)


def test_whoever_asks_for_a_new_version_gets_one(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film(["A lighthouse"]))
    paying.run()
    words(paying, "scene_1", "A storm")
    paying.run(refresh_stale=True)
    words(paying, "scene_1", "A lighthouse")
    paying.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id)"
        " SELECT id, 'scene_1' FROM projects"
    )

    paying.run()

    assert (paid(provider), current(paying)) == (3, 3)
    words(paying, "scene_1", "A storm")
    paying.run(mode="regenerate", token="backfill")
    assert (paid(provider), current(paying)) == (4, 4)
    assert_invariants(paying)


def test_a_locked_scene_does_not_go_back(paying: Studio) -> None:
    paying.bring(film(["A lighthouse"]))
    paying.run()
    words(paying, "scene_1", "A storm")
    paying.run(refresh_stale=True)
    paying.sql("UPDATE scenes SET locked = true")
    words(paying, "scene_1", "A lighthouse")

    assert paying.run().statuses == {"scene_1": "kept"}
    assert current(paying) == 2


def test_a_selection_that_only_publishes_changes_no_version(paying: Studio) -> None:
    paying.bring(film(["A lighthouse"]))
    paying.run()
    words(paying, "scene_1", "A storm")
    paying.run(refresh_stale=True)
    words(paying, "scene_1", "A lighthouse")

    assert paying.run(stages=frozenset({"scene_start_frame"})).statuses == {"scene_1": "stale"}
    assert current(paying) == 2


def test_a_scene_that_comes_back_has_its_frame_again(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film(["A lighthouse", "A storm"]))
    paying.run()
    url = paying.start_frame("scene_2")
    [entry] = paying.sql("SELECT scene_entry(master_json, 'scene_2') AS entry FROM projects")
    paying.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_2}'")
    assert paying.run().statuses.keys() == {"scene_1", "scene_2"}, "told as gone"
    del entry["entry"]["scene_start_frame"]
    paying.edit(["scenes", "scene_2"], entry["entry"])

    run = paying.run("scene_1", "scene_2")

    assert run.statuses == {"scene_1": "kept", "scene_2": "kept"}
    assert paying.start_frame("scene_2") == url
    assert paid(provider) == 2
    assert_invariants(paying)


def test_a_renamed_scene_takes_its_picture_along(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film(["A lighthouse", "A storm"]))
    paying.run()
    url = paying.start_frame("scene_1")
    rename(paying, "scene_1", "opening")

    run = paying.run("opening", "scene_2")

    assert run.statuses == {"opening": "kept", "scene_2": "kept"}
    assert run.outcomes["opening"].cost_usd == 0
    assert run.stages("opening")[-1] == "scene_start_frame"
    assert paying.start_frame("opening") == url
    assert paid(provider) == 2
    [row] = paying.sql(
        "SELECT g.state, g.cost_micros, g.cost_kind, g.reused_image_id = f.id AS is_known,"
        " i.sha256 = f.sha256 AS is_same, i.thumbnail = f.thumbnail AS has_thumbnail"
        " FROM generations g JOIN scene_images i ON i.generation_id = g.id"
        " JOIN scene_images f ON f.scene_id = 'scene_1' WHERE g.scene_id = 'opening'"
    )
    assert row == {
        "state": "published",
        "cost_micros": 0,
        "cost_kind": "free",
        "is_known": True,
        "is_same": True,
        "has_thumbnail": True,
    }
    assert paying.sql("SELECT refcount FROM storage_objects ORDER BY refcount") == [
        {"refcount": 1},
        {"refcount": 2},
    ]
    assert_invariants(paying)


def test_renamed_twice_and_back_it_is_still_the_same_picture(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film({"a": "A lighthouse", "z": "A storm"}))
    paying.run()
    url = paying.start_frame("a")
    for old, new in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")):
        rename(paying, old, new)
        assert paying.run(new).statuses == {new: "kept"}, (old, new)
        assert paying.start_frame(new) == url
    assert paid(provider) == 2
    assert_invariants(paying)


def test_two_scenes_with_the_same_words_never_share_a_picture(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film(["A lighthouse", "A lighthouse"]))
    paying.run()
    assert paid(provider) == 2
    rename(paying, "scene_1", "opening")
    paying.edit(["scenes", "another"], {"scene_frame_prompt": "A lighthouse"})

    paying.run("opening", "another", "scene_2")

    assert paid(provider) == 3
    urls = {paying.start_frame(scene_id) for scene_id in ("opening", "another", "scene_2")}
    assert len(urls) == 3
    assert_invariants(paying)


def test_runs_at_once_take_the_picture_over_once(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film({"a": "A lighthouse"}))
    paying.run()
    rename(paying, "a", "b")

    with ThreadPoolExecutor(4) as threads:
        runs = list(threads.map(lambda _: paying.run("b"), range(4)))

    assert [run.statuses for run in runs] == [{"b": "kept"}] * 4
    assert paid(provider) == 1
    assert paying.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]
    assert_invariants(paying)


@pytest.mark.parametrize("place", ["after_plan", "after_recorded", "before_publish"])
def test_a_renamed_scene_whose_run_died_goes_on_for_nothing(
    paying: Studio, provider: ScriptedProvider, place: str
) -> None:
    paying.bring(film({"a": "A lighthouse"}))
    paying.run()
    rename(paying, "a", "b")
    run_until(paying, place, "b")

    assert paying.run("b").statuses == {"b": "kept"}

    assert paid(provider) == 1
    assert paying.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]
    assert_invariants(paying)


def test_a_picture_that_waits_for_its_new_scene_is_not_collected(
    paying: Studio, provider: ScriptedProvider
) -> None:
    """Between planning and recording nothing counts the object, where the old version is gone."""
    paying.bring(film({"a": "A lighthouse"}))
    paying.run()
    rename(paying, "a", "b")
    run_until(paying, "after_plan", "b")
    paying.sql(
        "SET scene_pipeline.retention = 'on'; UPDATE scene_images SET storage_status = 'removed',"
        " removed_at = now(), storage_path = NULL, is_current = false;"
        " UPDATE storage_objects SET refcount = refcount - 1"
    )

    async def collect_now(services: Services) -> int:
        report = await collect(services, apply=True, grace=timedelta(0))
        return report.deleted.objects

    assert paying.do(collect_now) == 0
    assert paying.run("b").statuses == {"b": "kept"}
    assert paid(provider) == 1
    assert paying.sql("SELECT state, refcount FROM storage_objects") == [
        {"state": "present", "refcount": 1}
    ]


def test_where_the_picture_is_gone_after_all_the_scene_is_made(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film({"a": "A lighthouse"}))
    paying.run()
    rename(paying, "a", "b")
    paying.sql("UPDATE storage_objects SET refcount = 0, state = 'deleting'")

    assert paying.run("b").statuses == {"b": "generated"}
    assert paid(provider) == 2


def test_a_picture_that_is_collected_after_planning_is_replaced_by_the_next_run(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film({"a": "A lighthouse"}))
    paying.run()
    rename(paying, "a", "b")
    run_until(paying, "after_plan", "b")
    paying.sql("UPDATE storage_objects SET refcount = 0, state = 'deleting'")

    assert paying.run("b").statuses == {"b": "failed"}
    assert paying.run("b").statuses == {"b": "generated"}
    assert paid(provider) == 2


def with_seed(key: str, seed: int | None, provider_prompt: str = "A lighthouse") -> bytes:
    document = json.loads(film([provider_prompt], key=key))
    if seed is not None:
        document["scenes"]["scene_1"]["generation"] = {"seed": seed}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("is_allowed", "seed", "requests"), [(True, 7, 1), (False, 7, 2), (True, None, 2)]
)
def test_the_same_request_elsewhere_costs_nothing_where_that_is_allowed(
    paying: Studio, provider: ScriptedProvider, is_allowed: bool, seed: int | None, requests: int
) -> None:
    settings = paying.settings.model_copy(update={"reuse_across_projects": is_allowed})
    studio = replace(paying, settings=settings)
    for key in ("first", "second"):
        studio.bring(with_seed(key, seed), file_name=f"{key}.json", origin=f"{key}.json")
        studio.run("scene_1", key=key)

    assert paid(provider) == requests
    urls = {studio.start_frame("scene_1", key=key) for key in ("first", "second")}
    assert len(urls) == requests
    third = with_seed("third", seed)
    studio.bring(third, file_name="third.json", origin="third.json")
    studio.run("scene_1", key="third", mode="regenerate", token="asked")
    assert paid(provider) == requests + 1, "asked for explicitly"
    assert_invariants(studio)
