"""A store that is down when frames are made: nothing is lost, and all of it comes home later."""

import asyncio
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import NotFoundError
from scene_pipeline.pipeline.services import open_services
from scene_pipeline.pipeline.upkeep.heal import HealReport, heal
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

PROMPTS = ["A lighthouse at dawn", "A storm at sea", "A kitchen at night"]


def store_directory(studio: Studio) -> Path:
    return studio.settings.home_directory / "frames"


@contextmanager
def store_down(studio: Studio) -> Iterator[None]:
    """A file where the local store's directory should be; what is stored comes back afterwards."""
    directory = store_directory(studio)
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = directory.with_name("frames-aside")
    if directory.exists():
        directory.rename(aside)
    directory.write_text("a file where the store's directory should be")
    try:
        yield
    finally:
        directory.unlink()
        if aside.exists():
            aside.rename(directory)


def run_with_store_down(studio: Studio, *scene_ids: str, **order: Any) -> Run:
    with store_down(studio):
        return studio.run(*scene_ids, **order)


def heal_now(studio: Studio, project_key: str | None = None, limit: int = 100) -> HealReport:
    return studio.do(lambda services: heal(services, project_key=project_key, limit=limit))


def versions(studio: Studio) -> list[dict[str, object]]:
    return [
        dict(row)
        for row in studio.sql(
            "SELECT scene_id, version, storage_status, storage_url, storage_path, sha256"
            " FROM scene_images ORDER BY scene_id, version"
        )
    ]


def test_a_frame_made_while_the_store_is_down_points_to_the_provider(fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS))

    run = run_with_store_down(fal_studio)

    assert set(run.statuses.values()) == {"generated"}
    for scene_id, outcome in run.outcomes.items():
        assert outcome.frame is not None
        assert outcome.frame.storage_status == "external"
        assert outcome.frame.version == 1
        assert outcome.frame.url == fal_studio.start_frame(scene_id)
        assert urlsplit(outcome.frame.url).hostname == "v3.fal.media"
        assert outcome.frame.thumbnail
        assert outcome.failure is not None
        assert outcome.failure.code == "storage_external"
        assert "scene-pipeline heal" in outcome.failure.next_action
    rows = fal_studio.sql(
        "SELECT i.original_fal_url = i.storage_url AS is_source, i.storage_path, i.file_size,"
        " i.external_expires_at - g.completed_at = interval '1 hour' AS lasts_an_hour,"
        " g.storage_status, g.state"
        " FROM scene_images i JOIN generations g ON g.id = i.generation_id"
    )
    assert all(row["is_source"] and row["lasts_an_hour"] and row["file_size"] for row in rows)
    assert {(row["storage_status"], row["state"]) for row in rows} == {("external", "published")}
    assert [row["state"] for row in fal_studio.sql("SELECT state FROM scene_status")] == [
        "external"
    ] * 3
    assert_invariants(fal_studio)


def test_healing_keeps_the_version_number_and_corrects_the_document(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(PROMPTS))
    made = run_with_store_down(fal_studio)
    before = {row["scene_id"]: row for row in versions(fal_studio)}

    report = heal_now(fal_studio)

    assert report.count("healed") == 3
    assert report.remaining == 0
    for row in versions(fal_studio):
        old = before[row["scene_id"]]
        assert row["version"] == old["version"] == 1
        assert row["sha256"] == old["sha256"]
        assert row["storage_status"] == "stored"
        assert fal_studio.start_frame(str(row["scene_id"])) == row["storage_url"]
        path = store_directory(fal_studio) / str(row["storage_path"])
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.load()
    assert {v.document for v in report.versions} == {"written"}
    assert heal_now(fal_studio) == HealReport((), 0)
    kept = fal_studio.run()
    assert set(kept.statuses.values()) == {"kept"}
    assert all(o.failure is None for o in kept.outcomes.values())
    assert made.outcomes["scene_1"].frame is not None
    assert kept.outcomes["scene_1"].frame is not None
    assert made.outcomes["scene_1"].frame.sha256 == kept.outcomes["scene_1"].frame.sha256
    assert len(fal.meter.accepted) == 3
    assert fal_studio.sql("SELECT revision > planned_revision AS is_due FROM projects") == [
        {"is_due": False}
    ]
    assert_invariants(fal_studio)


def test_the_first_to_expire_is_healed_first(fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS))
    run_with_store_down(fal_studio)
    for minutes, scene_id in ((30, "scene_1"), (10, "scene_2"), (20, "scene_3")):
        fal_studio.sql(
            "UPDATE scene_images SET external_expires_at = now() + make_interval(mins => %s)"
            " WHERE scene_id = %s",
            minutes,
            scene_id,
        )

    reports = [heal_now(fal_studio, limit=1) for _ in range(3)]

    order = [report.versions[0].scene.scene_id for report in reports]
    assert order == ["scene_2", "scene_3", "scene_1"]
    assert [report.remaining for report in reports] == [2, 1, 0]


def test_a_picture_that_the_provider_lost_is_told_and_keeps_nobody_waiting(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse", "A calm sea"]))
    run_with_store_down(fal_studio)
    fal_studio.sql(
        "UPDATE scene_images SET external_expires_at = now() - interval '1 hour'"
        " WHERE scene_id = 'scene_1'"
    )
    url = fal_studio.start_frame("scene_1")
    fal.faults.add("image_gone")

    first = heal_now(fal_studio, limit=1)
    second = heal_now(fal_studio, limit=1)

    [lost] = first.versions
    assert (lost.scene.scene_id, lost.status) == ("scene_1", "lost")
    assert lost.failure is not None
    assert lost.failure.code == "result_lost"
    assert "--regenerate" in lost.failure.next_action
    assert [(v.scene.scene_id, v.status) for v in second.versions] == [("scene_2", "healed")]
    assert fal_studio.start_frame("scene_1") == url
    assert fal_studio.sql("SELECT storage_status FROM scene_images WHERE scene_id = 'scene_1'") == [
        {"storage_status": "external"}
    ]


def test_other_bytes_than_the_first_are_refused(fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS[:1]))
    run_with_store_down(fal_studio)
    fal_studio.sql("UPDATE scene_images SET sha256 = repeat('0', 64)")

    report = heal_now(fal_studio)

    assert [(v.status, v.failure and v.failure.code) for v in report.versions] == [
        ("lost", "bytes_changed")
    ]
    assert report.remaining == 1
    assert [row["storage_status"] for row in versions(fal_studio)] == ["external"]
    assert [path for path in store_directory(fal_studio).rglob("*") if path.is_file()] == []


def test_an_editor_who_took_the_url_out_meanwhile_is_left_alone(fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse", "A calm sea", "A kitchen"]))
    run_with_store_down(fal_studio)
    fal_studio.edit(["scenes", "scene_1", "scene_start_frame"], "https://example.org/mine.png")
    fal_studio.edit(["scenes", "scene_2", "scene_frame_prompt"], "A stormy sea")

    report = heal_now(fal_studio)

    assert {v.scene.scene_id: v.document for v in report.versions} == {
        "scene_1": "url_changed",
        "scene_2": "written",  # the old picture of an edited scene must not die either
        "scene_3": "written",
    }
    assert report.count("healed") == 3
    assert fal_studio.start_frame("scene_1") == "https://example.org/mine.png"


def test_a_run_heals_what_it_keeps(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS))
    run_with_store_down(fal_studio)

    down = run_with_store_down(fal_studio)
    healed = fal_studio.run()

    assert set(down.statuses.values()) == set(healed.statuses.values()) == {"kept"}
    assert all(o.failure is not None for o in down.outcomes.values())
    assert all(o.failure is None for o in healed.outcomes.values())
    assert [row["storage_status"] for row in versions(fal_studio)] == ["stored"] * 3
    assert len(fal.meter.accepted) == 3
    assert_invariants(fal_studio)


def test_a_run_that_may_only_store_heals_as_well(fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS[:1]))
    run_with_store_down(fal_studio)

    publishing = fal_studio.run(stages=frozenset({"scene_start_frame"}))
    storing = fal_studio.run(stages=frozenset({"scene_image"}))

    assert publishing.statuses == storing.statuses == {"scene_1": "kept"}
    assert publishing.outcomes["scene_1"].frame is not None
    assert publishing.outcomes["scene_1"].frame.storage_status == "external"
    assert storing.outcomes["scene_1"].frame is not None
    assert storing.outcomes["scene_1"].frame.storage_status == "stored"
    assert_invariants(fal_studio)


def test_two_healers_store_one_object(fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(6)]))
    run_with_store_down(fal_studio)

    async def race() -> list[HealReport]:
        async def one() -> HealReport:
            async with open_services(fal_studio.settings, fal_studio.database_url) as services:
                return await heal(services)

        return list(await asyncio.gather(one(), one()))

    reports = asyncio.run(race())

    assert sum(report.count("healed") for report in reports) == 6
    assert {v.status for report in reports for v in report.versions} <= {
        "healed",
        "already",
        "busy",
    }
    assert fal_studio.sql("SELECT DISTINCT state, refcount FROM storage_objects") == [
        {"state": "present", "refcount": 1}
    ]
    assert_invariants(fal_studio)


def test_a_store_that_stays_down_is_asked_a_few_times_only(fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(16)]))
    run_with_store_down(fal_studio)

    with store_down(fal_studio):
        report = heal_now(fal_studio)

    assert report.count("external") == report.remaining == 16
    assert all(v.failure is not None for v in report.versions)
    [tried] = fal_studio.sql("SELECT count(*) AS n FROM generations WHERE heal_attempts > 0")
    assert tried["n"] < 16


def test_an_older_version_is_healed_without_touching_the_document(fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS[:1]))
    run_with_store_down(fal_studio)
    fal_studio.run(mode="regenerate", token="again")
    newest = fal_studio.start_frame("scene_1")

    report = heal_now(fal_studio)

    assert [(v.version, v.status, v.document) for v in report.versions] == [
        (1, "healed", "not_current")
    ]
    assert fal_studio.start_frame("scene_1") == newest
    assert_invariants(fal_studio)


def test_a_signed_address_never_reaches_the_document(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(PROMPTS[:1]))
    settings = load_settings(
        **fal_studio.settings.model_dump() | {"failpoint": "after_completed:raise"}
    )
    Studio(settings, fal_studio.database_url).run()
    fal_studio.sql(
        "UPDATE generations SET result = jsonb_set(result, '{images,0,url}',"
        " to_jsonb((result #>> '{images,0,url}') || '?Signature=abc'))"
    )

    refused = run_with_store_down(fal_studio)
    mended = fal_studio.run()

    assert refused.statuses == {"scene_1": "failed"}
    assert refused.outcomes["scene_1"].failure is not None
    assert refused.outcomes["scene_1"].failure.code == "storage_failed"
    assert mended.statuses == {"scene_1": "generated"}
    shown = fal_studio.sql(
        "SELECT p.master_json, i.storage_url, i.original_fal_url FROM projects p, scene_images i"
    )
    assert "Signature" not in json.dumps(shown, default=str)
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)


def test_a_provider_without_addresses_waits_for_the_store(studio: Studio) -> None:
    studio.bring(film(PROMPTS[:1]))

    run = run_with_store_down(studio)

    assert run.statuses == {"scene_1": "failed"}
    assert versions(studio) == []
    assert studio.run().statuses == {"scene_1": "generated"}
    assert_invariants(studio)


def test_an_unknown_project_is_named(studio: Studio) -> None:
    with pytest.raises(NotFoundError):
        heal_now(studio, "nobody")


def test_a_rejected_picture_is_healed_but_never_promoted(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(PROMPTS[:1]))
    # Once only: another seed would be tried after a rejection, and would do.
    settings = fal_studio.settings.model_copy(update={"rejection_reseeds": 0})
    with store_down(fal_studio):
        fal.faults.add("nsfw_flagged")
        run = Studio(settings, fal_studio.database_url).run()

    report = heal_now(fal_studio)

    assert run.statuses == {"scene_1": "failed"}
    assert report.count("healed") == 1
    assert fal_studio.start_frame("scene_1") is None
    assert fal_studio.sql("SELECT is_current, storage_status FROM scene_images") == [
        {"is_current": False, "storage_status": "stored"}
    ]


def test_the_store_may_have_been_emptied(fal_studio: Studio) -> None:
    """Healing needs nothing that was in the store before."""
    fal_studio.bring(film(PROMPTS))
    fal_studio.run("scene_1")
    run_with_store_down(fal_studio, "scene_2")
    shutil.rmtree(store_directory(fal_studio))

    assert heal_now(fal_studio).count("healed") == 1


def test_a_missing_bucket_is_an_outage_like_any_other(
    fal: FalStandIn, fal_studio: Studio, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(
        tmp_path / "home",
        fal_key=fal.key,
        egress_proxy=fal.proxy_url,
        ssl_cert_file=fal.ca_file,
        s3_bucket="no-such-bucket",
    )
    broken = Studio(settings, fal_studio.database_url)
    broken.bring(film(PROMPTS))

    run = broken.run()
    mended = Studio(
        settings.model_copy(update={"s3_bucket": seaweedfs.bucket}), broken.database_url
    )
    report = heal_now(mended)

    assert set(run.statuses.values()) == {"generated"}
    assert {v.storage_status for v in (o.frame for o in run.outcomes.values()) if v} == {"external"}
    assert report.count("healed") == 3
    for row in versions(mended):
        assert str(row["storage_url"]).startswith(f"{seaweedfs.http_url}/{seaweedfs.bucket}/")
        assert mended.start_frame(str(row["scene_id"])) == row["storage_url"]
    assert_invariants(mended)
