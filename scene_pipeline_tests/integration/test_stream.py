"""The stream on a real database: first frames, repetition, edits and drift."""

import io
import json
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.films import Studio, assert_invariants, film

PROMPTS = ["A lighthouse at dawn", "A storm at sea", "A kitchen at night"]


def frame_file(studio: Studio, url: str) -> Path:
    key = urlsplit(url).path.removeprefix("/frames/")
    return studio.settings.home_directory / "frames" / key


def test_first_frames_are_made_recorded_and_published(studio: Studio) -> None:
    studio.bring(film(PROMPTS))

    run = studio.run()

    assert run.statuses == dict.fromkeys(["scene_1", "scene_2", "scene_3"], "generated")
    for scene_id in run.statuses:
        assert run.stages(scene_id) == [
            "scene_prompt",
            "generated_frame",
            "scene_image",
            "scene_start_frame",
        ]
        url = studio.start_frame(scene_id)
        assert url is not None
        with Image.open(io.BytesIO(frame_file(studio, url).read_bytes())) as image:
            image.load()
            assert image.size == (64, 64)
    assert_invariants(studio)


def test_the_document_differs_only_in_start_frames(studio: Studio) -> None:
    original = json.loads(film(PROMPTS, narrator={"voice": "low"}))
    studio.bring(film(PROMPTS, narrator={"voice": "low"}))
    studio.run()

    exported = studio.export()

    for scene in exported["scenes"].values():
        del scene["scene_start_frame"]
    assert exported == original


def test_scenes_may_be_a_list(studio: Studio) -> None:
    scenes = [
        {"id": "opening", "scene_frame_prompt": "Dawn", "note": 1},
        {"id": "finale", "scene_frame_prompt": "Dusk"},
    ]
    document = {"project": {"key": "film"}, "generation": {"image_size": "64x64"}, "scenes": scenes}
    studio.bring(json.dumps(document).encode())

    studio.run()

    exported = studio.export()["scenes"]
    assert [scene["id"] for scene in exported] == ["opening", "finale"]
    assert exported[0]["note"] == 1
    assert all(scene["scene_start_frame"] for scene in exported)
    assert_invariants(studio)


def test_a_second_run_keeps_everything(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    first = studio.run()
    revision = studio.sql("SELECT revision FROM projects")

    second = studio.run()

    assert set(second.statuses.values()) == {"kept"}
    assert [o.frame for o in second.outcomes.values()] == [
        first.outcomes[scene_id].frame for scene_id in second.outcomes
    ]
    assert studio.sql("SELECT revision FROM projects") == revision
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 3}]


def test_an_edited_scene_is_stale_until_it_is_asked_for(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    old = studio.start_frame("scene_1")
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A lighthouse at dusk")

    waiting = studio.run()

    assert waiting.statuses == {"scene_1": "stale", "scene_2": "kept", "scene_3": "kept"}
    assert waiting.outcomes["scene_1"].failure is not None
    assert "--stale" in waiting.outcomes["scene_1"].failure.next_action
    assert studio.start_frame("scene_1") == old
    [state] = studio.sql("SELECT state, stale_causes FROM scene_status WHERE scene_id = 'scene_1'")
    assert state == {"state": "stale", "stale_causes": ["expanded_prompt", "prompt"]}

    refreshed = studio.run(refresh_stale=True)

    assert refreshed.statuses["scene_1"] == "generated"
    assert refreshed.outcomes["scene_1"].frame is not None
    assert refreshed.outcomes["scene_1"].frame.version == 2
    assert studio.start_frame("scene_1") != old
    assert_invariants(studio)


def test_a_reverted_edit_reuses_the_version_it_had(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    old = studio.start_frame("scene_1")
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A lighthouse at dusk")
    studio.run(refresh_stale=True)
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], PROMPTS[0])

    reverted = studio.run(refresh_stale=True)

    assert reverted.statuses["scene_1"] == "kept"
    assert studio.start_frame("scene_1") == old
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 4}]
    assert_invariants(studio)


def test_an_edited_style_makes_every_scene_stale(studio: Studio) -> None:
    studio.bring(film(PROMPTS, style="ink"))
    studio.run()
    studio.edit(["style"], "oil")

    run = studio.run()

    assert set(run.statuses.values()) == {"stale"}
    assert run.outcomes["scene_1"].failure is not None
    assert "style or characters" in run.outcomes["scene_1"].failure.message


def test_regenerating_makes_a_new_version_once_per_token(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()

    asked = studio.run("scene_2", mode="regenerate", token="backfill-1")
    repeated = studio.run("scene_2", mode="regenerate", token="backfill-1")
    again = studio.run("scene_2", mode="regenerate", token="backfill-2")

    assert [run.statuses["scene_2"] for run in (asked, repeated, again)] == [
        "generated",
        "kept",
        "generated",
    ]
    versions = studio.sql(
        "SELECT version, is_current FROM scene_images WHERE scene_id = 'scene_2' ORDER BY version"
    )
    assert versions == [
        {"version": 1, "is_current": False},
        {"version": 2, "is_current": False},
        {"version": 3, "is_current": True},
    ]
    assert_invariants(studio)


def test_a_bad_scene_is_set_aside_and_the_others_go_on(studio: Studio) -> None:
    imported = studio.bring(film({"good": "Dawn", "bad": "   "}))

    run = studio.run()

    assert [problem.scene_id for problem in imported.problems] == ["bad"]
    assert run.statuses == {"good": "generated", "bad": "invalid"}
    assert run.outcomes["bad"].failure is not None
    assert run.outcomes["bad"].failure.code == "prompt_empty"


def test_the_events_of_a_frame_tell_what_happened_and_what_the_provider_said(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal.jobs.queue_seconds = 2.0  # longer than the first poll waits
    fal.jobs.run_seconds = 1.5
    fal_studio.bring(film(["A lighthouse"]))

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "generated"}
    told = fal_studio.sql(
        "SELECT kind, data FROM pipeline_events WHERE generation_id IS NOT NULL ORDER BY id"
    )
    kinds = [row["kind"] for row in told]
    progress = [row["data"] for row in told if row["kind"] == "generation_progress"]
    assert kinds[0] == "generation_started"
    assert kinds.index("generation_progress") < kinds.index("generation_complete")
    assert {"version_recorded", "frame_published"} <= set(kinds)
    assert list(dict.fromkeys(said["state"] for said in progress)) == ["queued", "running"]
    assert progress[0]["queue_position"] >= 0
    assert not any("percent" in said for said in progress)


def test_a_store_that_is_down_costs_nothing_twice(studio: Studio) -> None:
    studio.bring(film(PROMPTS[:1]))
    frames = studio.settings.home_directory / "frames"
    studio.settings.home_directory.mkdir(parents=True, exist_ok=True)
    frames.write_text("a file where the store's directory should be")

    broken = studio.run()
    frames.unlink()
    mended = studio.run()

    assert broken.statuses == {"scene_1": "failed"}
    assert broken.outcomes["scene_1"].failure is not None
    assert mended.statuses == {"scene_1": "generated"}
    assert studio.sql("SELECT submit_count FROM generations") == [{"submit_count": 1}]
    assert_invariants(studio)


def test_a_url_that_an_editor_removed_is_written_again(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    url = studio.start_frame("scene_1")
    studio.edit(["scenes", "scene_1", "scene_start_frame"], None)

    run = studio.run("scene_1", stages=frozenset({"scene_start_frame"}))

    assert run.statuses == {"scene_1": "kept"}
    assert run.stages("scene_1") == ["scene_start_frame"]
    assert studio.start_frame("scene_1") == url


def test_a_selection_without_the_paid_stage_never_pays(studio: Studio) -> None:
    studio.bring(film(PROMPTS[:1]))

    run = studio.run(stages=frozenset({"scene_image", "scene_start_frame"}), mode="regenerate")

    assert run.statuses == {"scene_1": "failed"}
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 0}]


def test_writing_back_does_not_count_as_an_edit(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()

    assert studio.sql("SELECT revision > planned_revision AS is_due FROM projects") == [
        {"is_due": False}
    ]
    studio.edit(["narrator"], "low")
    assert studio.sql("SELECT revision > planned_revision AS is_due FROM projects") == [
        {"is_due": True}
    ]
