"""Documents coming in again, and asking for new versions."""

import json
from typing import Any

import pytest

from scene_pipeline.database.storyboards import projects_with_stale_storyboards
from scene_pipeline.errors import DocumentError, NotFoundError, UsageError
from scene_pipeline.pipeline.planning.regenerate import request_new_versions
from scene_pipeline.pipeline.reporting.storyboard import make_storyboard
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import Studio, assert_invariants, film

PROMPTS = ["A lighthouse at dawn", "A storm at sea"]


def ask(studio: Studio, *scene_ids: str, **overrides: Any) -> bool:
    async def work(services: Services) -> bool:
        async with services.pool.connection() as conn:
            return await request_new_versions(
                conn,
                "film",
                scene_ids,
                overrides=RequestOverrides(**overrides),
                requested_by="test",
            )

    return studio.do(work)


def test_importing_again_changes_nothing_and_buys_nothing(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    before = studio.sql("SELECT master_json, revision FROM projects")

    again = studio.bring(film(PROMPTS))

    assert (again.is_new, again.is_changed) == (False, False)
    assert studio.sql("SELECT master_json, revision FROM projects") == before
    assert set(studio.run().statuses.values()) == {"kept"}


def test_importing_again_takes_prompts_and_keeps_frames(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    frames = [studio.start_frame(scene_id) for scene_id in ("scene_1", "scene_2")]

    studio.bring(film([PROMPTS[0], "A storm over the land", "A new scene"], narrator="low"))

    assert [studio.start_frame(scene_id) for scene_id in ("scene_1", "scene_2")] == frames
    assert studio.export()["narrator"] == "low"
    assert studio.run().statuses == {
        "scene_1": "kept",
        "scene_2": "stale",
        "scene_3": "generated",
    }
    assert_invariants(studio)


def test_a_scene_that_is_gone_is_retired_and_comes_back_for_free(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    url = studio.start_frame("scene_2")
    studio.bring(film(PROMPTS[:1]))
    assert set(studio.run().statuses) == {"scene_1"}

    studio.bring(film(PROMPTS))
    back = studio.run()

    assert back.statuses == {"scene_1": "kept", "scene_2": "kept"}
    assert studio.start_frame("scene_2") == url
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]


def test_an_edited_document_is_not_undone_by_its_old_file(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.edit(["narrator"], "high")

    with pytest.raises(UsageError) as caught:
        studio.bring(film(PROMPTS))

    assert caught.value.error_code == "edited_since_import"
    assert studio.export()["narrator"] == "high"
    studio.bring(film(PROMPTS), force=True)
    assert "narrator" not in studio.export()


def test_a_key_from_a_file_name_belongs_to_one_file(studio: Studio) -> None:
    document = json.loads(film(PROMPTS))
    del document["project"]["key"]
    data = json.dumps(document).encode()
    first = studio.bring(data, file_name="My Film.json", origin="/a/My Film.json")

    with pytest.raises(UsageError) as caught:
        studio.bring(data, file_name="My Film.json", origin="/b/My Film.json")

    assert first.key == "my-film"
    assert caught.value.error_code == "origin_differs"
    assert studio.bring(data, origin="/b/My Film.json", project_key="my-film").is_new is False


def test_a_refused_document_leaves_no_project(studio: Studio) -> None:
    with pytest.raises(DocumentError) as caught:
        studio.bring(b'{"scenes": {}}')

    assert caught.value.error_code == "no_scenes"
    assert studio.sql("SELECT count(*) AS n FROM projects") == [{"n": 0}]


def test_an_unknown_scene_plans_nothing(studio: Studio) -> None:
    studio.bring(film(PROMPTS))

    with pytest.raises(NotFoundError, match="scene_9"):
        studio.run("scene_1", "scene_9")

    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 0}]


def test_asking_makes_one_new_version_of_each_scene(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()

    ask(studio, "scene_1", prompt_suffix="seen from below")
    run = studio.run()

    assert run.statuses == {"scene_1": "generated", "scene_2": "kept"}
    assert run.outcomes["scene_1"].frame is not None
    assert run.outcomes["scene_1"].frame.version == 2
    assert "seen from below" in run.outcomes["scene_1"].frame.prompt
    assert studio.sql("SELECT state FROM regeneration_requests") == [{"state": "done"}]
    assert set(studio.run().statuses.values()) == {"kept"}
    assert_invariants(studio)


def test_asking_again_before_all_is_answered_goes_on_as_the_same(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    assert ask(studio, "scene_1", "scene_2") is True
    studio.run("scene_1")

    assert ask(studio, "scene_1", "scene_2") is False
    studio.run()

    assert studio.sql("SELECT scene_id, last_version FROM scene_heads ORDER BY scene_id") == [
        {"scene_id": "scene_1", "last_version": 2},
        {"scene_id": "scene_2", "last_version": 2},
    ]


def test_a_plain_insert_of_another_program_coalesces(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    for _ in range(5):
        studio.sql(
            "INSERT INTO regeneration_requests (project_id, scene_id)"
            " SELECT id, 'scene_1' FROM projects"
        )

    run = studio.run()

    assert studio.sql("SELECT asked, state FROM regeneration_requests") == [
        {"asked": 5, "state": "done"}
    ]
    assert run.statuses["scene_1"] == "generated"
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 3}]


def test_what_is_under_way_answers_a_request(studio: Studio) -> None:
    studio.bring(film(PROMPTS[:1]))
    frames = studio.settings.home_directory / "frames"
    studio.settings.home_directory.mkdir(parents=True, exist_ok=True)
    frames.write_text("a file where the store's directory should be")
    studio.run()
    frames.unlink()

    ask(studio, "scene_1")
    first = studio.run()
    second = studio.run()

    assert (first.statuses, second.statuses) == ({"scene_1": "generated"}, {"scene_1": "kept"})
    assert studio.sql("SELECT state FROM regeneration_requests") == [{"state": "done"}]
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 1}]


def test_another_program_gives_only_id_and_document(studio: Studio) -> None:
    document = json.loads(film(PROMPTS, key="foreign"))
    studio.sql(
        "INSERT INTO projects (id, master_json) VALUES (gen_random_uuid(), %s::jsonb)",
        json.dumps(document),
    )

    run = studio.run("scene_1", "scene_2", key="foreign")

    assert set(run.statuses.values()) == {"generated"}
    assert studio.start_frame("scene_1", key="foreign") is not None


def test_a_storyboard_is_due_once_per_state_of_the_frames(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    assert projects_with_stale_storyboards(studio.database_url, 10) == []
    studio.run()
    [(key, fingerprint)] = projects_with_stale_storyboards(studio.database_url, 10)

    async def draw(services: Services) -> None:
        facts = await make_storyboard("film", services)
        assert facts.counts == {"current": 2}
        assert services.store.read(facts.storage_path)[:8] == b"\x89PNG\r\n\x1a\n"

    studio.do(draw)

    assert key == "film"
    assert projects_with_stale_storyboards(studio.database_url, 10) == []
    ask(studio, "scene_1")
    studio.run()
    [(_, renewed)] = projects_with_stale_storyboards(studio.database_url, 10)
    assert renewed != fingerprint


def test_a_scene_that_is_removed_before_its_run_holds_nothing_up(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_2}'")

    run = studio.run("scene_1", "scene_2")

    assert run.statuses == {"scene_1": "generated", "scene_2": "invalid"}
    assert run.outcomes["scene_2"].failure is not None
    assert run.outcomes["scene_2"].failure.code == "scene_gone"
    assert studio.run("scene_1", "scene_2").statuses == {"scene_1": "kept", "scene_2": "invalid"}
