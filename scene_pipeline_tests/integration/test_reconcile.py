"""Document, rows and objects that disagree: what is found, what is repaired, what is left alone."""

import shutil

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import NotFoundError
from scene_pipeline.pipeline.upkeep.drift import ReconcileReport
from scene_pipeline.pipeline.upkeep.reconcile import reconcile
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_heal import (
    heal_now,
    run_with_store_down,
    store_directory,
    store_down,
)

PROMPTS = ["A lighthouse at dawn", "A storm at sea", "A kitchen at night"]


def look(studio: Studio, project_key: str | None = None) -> ReconcileReport:
    return studio.do(lambda services: reconcile(services, project_key, apply=False))


def repair(studio: Studio, project_key: str | None = None) -> ReconcileReport:
    return studio.do(lambda services: reconcile(services, project_key, apply=True))


def findings(report: ReconcileReport) -> list[tuple[str, str, str]]:
    return [(drift.kind, drift.scene.scene_id, drift.status) for drift in report.drifts]


def fail_at(studio: Studio, failpoint: str) -> None:
    """A run that goes no further than a failpoint."""
    settings = load_settings(**studio.settings.model_dump() | {"failpoint": f"{failpoint}:raise"})
    Studio(settings, studio.database_url).run()


def test_what_agrees_is_left_alone(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    before = studio.sql("SELECT master_json, revision, updated_at FROM projects")

    report = repair(studio)

    assert report.is_clean
    assert (report.versions_checked, report.objects_checked) == (3, 3)
    assert studio.sql("SELECT master_json, revision, updated_at FROM projects") == before


@pytest.mark.parametrize("scenes_form", ["object", "list"])
def test_a_missing_and_an_old_url_are_written_again(scenes_form: str, studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    if scenes_form == "list":
        studio.sql(
            "UPDATE projects SET master_json = jsonb_set(master_json, '{scenes}', ("
            " SELECT jsonb_agg(value || jsonb_build_object('id', key) ORDER BY key)"
            " FROM jsonb_each(master_json -> 'scenes')))"
        )
    place = {"scene_1": "0", "scene_2": "1"} if scenes_form == "list" else {}
    studio.run()
    old = studio.start_frame("scene_2")
    studio.run("scene_2", mode="regenerate", token="again")
    studio.edit(["scenes", place.get("scene_1", "scene_1"), "scene_start_frame"], None)
    studio.edit(["scenes", place.get("scene_2", "scene_2"), "scene_start_frame"], old)

    seen = look(studio)
    unchanged = studio.start_frame("scene_2")
    repaired = repair(studio)
    again = repair(studio)

    assert findings(seen) == [
        ("document_url", "scene_1", "found"),
        ("document_url", "scene_2", "found"),
    ]
    assert not seen.is_clean
    assert unchanged == old
    assert findings(repaired) == [
        ("document_url", "scene_1", "repaired"),
        ("document_url", "scene_2", "repaired"),
    ]
    assert repaired.is_clean
    assert again.drifts == ()
    assert studio.sql("SELECT data FROM pipeline_events WHERE kind = 'drift_repaired'")
    assert_invariants(studio)


def test_a_url_that_an_editor_chose_is_told_and_never_overwritten(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    studio.edit(["scenes", "scene_1", "scene_start_frame"], "https://example.org/mine.png")

    report = repair(studio)

    assert findings(report) == [("foreign_url", "scene_1", "told")]
    assert not report.is_clean
    assert studio.start_frame("scene_1") == "https://example.org/mine.png"


def test_a_scene_that_was_taken_out_is_no_drift(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_1}'")

    assert repair(studio).drifts == ()


def test_an_old_provider_address_is_replaced_by_what_was_healed(fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS[:1]))
    run_with_store_down(fal_studio)
    address = fal_studio.start_frame("scene_1")
    heal_now(fal_studio)
    fal_studio.edit(["scenes", "scene_1", "scene_start_frame"], address)

    report = repair(fal_studio)

    assert findings(report) == [("document_url", "scene_1", "repaired")]
    assert_invariants(fal_studio)


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_version_that_was_recorded_and_left_is_published(
    is_edited: bool, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(PROMPTS))
    fail_at(fal_studio, "after_recorded")
    if is_edited:
        fal_studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Something else")

    seen = look(fal_studio)
    repaired = repair(fal_studio)

    scenes = ["scene_1", "scene_2", "scene_3"]
    assert sorted(findings(seen)) == [("unpublished", scene, "found") for scene in scenes]
    edited = [("document_url", "scene_1", "told")] if is_edited else []
    assert sorted(findings(repaired)) == [
        *edited,
        *(("unpublished", scene, "repaired") for scene in scenes),
    ]
    states = fal_studio.sql("SELECT state FROM generations ORDER BY scene_id")
    assert states[0]["state"] == ("superseded" if is_edited else "published")
    assert (fal_studio.start_frame("scene_1") is None) == is_edited
    assert len(fal.meter.accepted) == 3
    if not is_edited:
        assert repair(fal_studio).drifts == ()
        assert_invariants(fal_studio)


def test_a_lost_object_is_drawn_again(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    shutil.rmtree(store_directory(studio))

    seen = look(studio)
    repaired = repair(studio)
    again = look(studio)

    assert [drift.status for drift in seen.drifts] == ["found"] * 3
    assert {drift.kind for drift in repaired.drifts} == {"object_gone"}
    assert repaired.is_clean
    assert again.drifts == ()
    assert again.objects_checked == 3
    assert_invariants(studio)


def test_a_lost_object_is_fetched_again_while_the_provider_has_it(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal_studio.run()
    shutil.rmtree(store_directory(fal_studio))

    repaired = repair(fal_studio)

    assert findings(repaired) == [("object_gone", "scene_1", "repaired")]
    shutil.rmtree(store_directory(fal_studio))
    fal.faults.add("image_gone")
    told = repair(fal_studio)
    assert findings(told) == [("object_gone", "scene_1", "told")]
    assert "--regenerate" in told.drifts[0].next_action
    assert len(fal.meter.accepted) == 1


def test_a_damaged_object_is_told(studio: Studio) -> None:
    studio.bring(film(PROMPTS[:1]))
    studio.run()
    [row] = studio.sql("SELECT storage_path FROM scene_images")
    path = store_directory(studio) / row["storage_path"]
    path.write_bytes(path.read_bytes()[:-1] + b"\0")

    assert findings(repair(studio)) == [("object_damaged", "scene_1", "told")]


@pytest.mark.parametrize("damage", [("intent", 0), ("intent", None), (None, 0)])
def test_an_object_that_a_version_needs_is_counted(
    damage: tuple[str | None, int | None], studio: Studio
) -> None:
    studio.bring(film(PROMPTS[:2]))
    studio.run()
    studio.sql(
        "UPDATE storage_objects SET state = coalesce(%s, state), refcount = coalesce(%s, refcount)"
        " WHERE key LIKE '%%/scene_1_%%'",
        *damage,
    )

    seen = look(studio)
    repaired = repair(studio)

    assert findings(seen) == [("object_row", "scene_1", "found")]
    assert findings(repaired) == [("object_row", "scene_1", "repaired")]
    assert repair(studio).drifts == ()
    assert_invariants(studio)


def test_a_store_that_is_down_is_told_once_and_the_rest_is_done(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    studio.edit(["scenes", "scene_1", "scene_start_frame"], None)

    with store_down(studio):
        report = repair(studio)

    assert findings(report) == [("document_url", "scene_1", "repaired")]
    assert report.store_failure is not None
    assert not report.is_complete
    assert not report.is_clean
    assert repair(studio).is_clean


def test_only_the_named_project_is_looked_at(studio: Studio) -> None:
    for key in ("film", "other"):
        studio.bring(film(PROMPTS[:1], key=key), origin=key)
        studio.run("scene_1", key=key)
        studio.edit(["scenes", "scene_1", "scene_start_frame"], None, key)

    report = repair(studio, "other")

    assert [drift.scene.project_key for drift in report.drifts] == ["other"]
    assert studio.start_frame("scene_1", "film") is None
    with pytest.raises(NotFoundError):
        repair(studio, "nobody")
