"""The library, its uploads and the register: what disagrees is found, repaired or told."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from scene_pipeline.database.drift_library import miscounted_objects, next_page, recount_object
from scene_pipeline.database.objects import add_reference
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.reporting.storyboard import make_storyboard
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.drift import ReconcileReport
from scene_pipeline.pipeline.upkeep.reconcile import reconcile
from scene_pipeline.storage.base import StoredObject
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_heal import store_down
from scene_pipeline_tests.libraries import Library
from scene_pipeline_tests.standins.pictures import scene_file


@pytest.fixture
def library(studio: Studio, tmp_path: Path) -> Library:
    """An empty library."""
    return Library(studio, tmp_path / "files")


def run(library: Library, *, apply: bool) -> ReconcileReport:
    return library.studio.do(lambda services: reconcile(services, apply=apply))


def findings(report: ReconcileReport) -> list[tuple[str, str, str]]:
    assert report.drifts == ()
    return [(drift.kind, drift.subject, drift.status) for drift in report.library_drifts]


def key_of(library: Library, asset_id: str) -> str:
    [row] = library.studio.sql("SELECT storage_key FROM user_assets WHERE asset_id = %s", asset_id)
    return str(row["storage_key"])


def path_of(library: Library, key: str) -> Path:
    return library.studio.settings.home_directory / "frames" / key


def ask_for_upload(library: Library) -> str:
    """The key where an upload is awaited."""
    key = f"uploads/{uuid4()}.png"
    library.studio.sql("INSERT INTO storage_objects (key, refcount) VALUES (%s, 1)", key)
    library.studio.sql(
        "INSERT INTO asset_imports (kind, source, upload_key, upload_content_type,"
        " upload_max_bytes, state) VALUES ('image', 'upload', %s, 'image/png', 9,"
        " 'awaiting_upload')",
        key,
    )
    return key


def test_what_agrees_is_left_alone(library: Library) -> None:
    """Frames, storyboards, assets that share their objects, derivatives and awaited uploads."""
    library.studio.bring(film(["A pier"]))
    library.studio.run()
    [frame] = library.studio.sql("SELECT storage_path FROM scene_images")
    library.add(library.file("frame.jpg", path_of(library, frame["storage_path"]).read_bytes()))
    library.add(library.file("hero.png"))
    library.add(library.file("hero.png"), client_id="acme")
    ask_for_upload(library)
    library.studio.do(lambda services: make_storyboard("film", services))
    before = library.objects()

    report = run(library, apply=True)

    assert findings(report) == []
    assert report.is_clean
    assert library.objects() == before
    assert_invariants(library.studio)


@pytest.mark.parametrize("counted", [0, 1, 7])
def test_a_wrong_count_is_told_and_set_right(counted: int, library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    library.add(library.file("hero.png"), client_id="acme")
    key = key_of(library, hero.asset_id)
    library.studio.sql("UPDATE storage_objects SET refcount = %s WHERE key = %s", counted, key)

    seen = run(library, apply=False)
    unchanged = library.objects()[key]
    repaired = run(library, apply=True)

    assert findings(seen) == [("reference_count", key, "found")]
    assert unchanged == ("present", counted)
    assert findings(repaired) == [("reference_count", key, "repaired")]
    assert repaired.is_clean
    assert library.objects()[key] == ("present", 2)
    assert findings(run(library, apply=True)) == []
    [event] = library.studio.sql("SELECT data FROM pipeline_events WHERE kind = 'drift_repaired'")
    assert event["data"] == {"kind": "reference_count", "subject": key}


def test_what_nothing_needs_gets_a_period_of_grace_of_its_own(library: Library) -> None:
    library.studio.sql(
        "INSERT INTO storage_objects (key, state, sha256, size_bytes, refcount, created_at)"
        " VALUES ('assets/images/left.png', 'present', %s, 1, 3, now() - interval '9 days')",
        "a" * 64,
    )

    run(library, apply=True)
    library.sweep(is_grace_over=False)

    assert library.objects() == {"assets/images/left.png": ("present", 0)}


def test_an_awaited_upload_and_a_derivative_are_counted(library: Library) -> None:
    library.add(library.file("hero.png"))
    upload = ask_for_upload(library)
    library.studio.sql("UPDATE storage_objects SET refcount = 0")

    run(library, apply=True)

    assert library.objects()[upload] == ("intent", 1)
    library.assert_sound()


def test_what_the_collector_took_is_told(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    key = key_of(library, hero.asset_id)
    library.studio.sql(
        "UPDATE storage_objects SET refcount = 0, state = 'deleting' WHERE key = %s", key
    )

    assert set(findings(run(library, apply=True))) == {
        ("reference_count", key, "told"),
        ("asset_object_gone", hero.asset_id, "told"),
    }
    assert library.objects()[key] == ("deleting", 0)


def test_a_lost_object_of_an_asset_is_told_and_comes_back_with_its_file(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    path_of(library, key_of(library, hero.asset_id)).unlink()

    told = run(library, apply=True)
    library.add(library.file("hero.png"), replace=hero.asset_id)

    assert findings(told) == [("asset_object_gone", hero.asset_id, "told")]
    assert f"--replace {hero.asset_id}" in told.library_drifts[0].next_action
    assert not told.is_clean
    assert findings(run(library, apply=True)) == []


def test_a_damaged_object_of_an_asset_is_told(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    path = path_of(library, key_of(library, hero.asset_id))
    path.write_bytes(path.read_bytes()[:-1])

    assert findings(run(library, apply=True)) == [("asset_object_damaged", hero.asset_id, "told")]


@pytest.mark.parametrize("most", [0, 10])
def test_the_store_is_asked_only_about_what_its_list_does_not_hold(
    most: int, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was stored after the list was read, or is beyond what is kept of it, is no loss."""
    monkeypatch.setattr("scene_pipeline.pipeline.upkeep.drift_library.MAX_LISTED", most)
    library.add(library.file("hero.png"))
    asked: list[str] = []

    async def count(services: Services) -> ReconcileReport:
        head = services.store.head

        def counted(key: str) -> StoredObject | None:
            asked.append(key)
            return head(key)

        monkeypatch.setattr(services.store, "head", counted)
        return await reconcile(services, apply=True)

    report = library.studio.do(count)

    assert findings(report) == []
    assert report.objects_checked == 2
    assert len(asked) == (0 if most else 2)


def test_an_object_that_was_only_announced_is_kept(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    key = key_of(library, hero.asset_id)
    library.studio.sql("UPDATE storage_objects SET state = 'intent' WHERE key = %s", key)

    seen, repaired = run(library, apply=False), run(library, apply=True)

    assert findings(seen) == [("asset_object_row", hero.asset_id, "found")]
    assert findings(repaired) == [("asset_object_row", hero.asset_id, "repaired")]
    library.assert_sound()


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_lost_derivative_is_made_again(is_marked: bool, library: Library) -> None:
    library.add(library.file("hero.png"))
    [row] = library.studio.sql("SELECT storage_key FROM derivatives WHERE form = 'thumbnail'")
    path_of(library, row["storage_key"]).unlink()
    if is_marked:
        library.studio.sql(
            "UPDATE storage_objects SET refcount = 0, state = 'deleting' WHERE key = %s",
            row["storage_key"],
        )

    seen = [one for one in findings(run(library, apply=False)) if one[0] == "derivative_gone"]
    run(library, apply=True)

    assert set(seen) == {("derivative_gone", row["storage_key"], "found")}
    assert run(library, apply=True).is_clean
    assert len(library.studio.sql("SELECT 1 FROM derivatives")) == 2
    library.assert_sound()


def test_an_address_that_the_store_does_not_give_is_corrected(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    library.studio.sql("UPDATE user_assets SET url = 'https://old.example/hero.png'")

    seen, repaired = run(library, apply=False), run(library, apply=True)

    assert findings(seen) == [("asset_url", hero.asset_id, "found")]
    assert findings(repaired) == [("asset_url", hero.asset_id, "repaired")]
    assert library.studio.sql("SELECT url FROM user_assets") == [{"url": hero.url}]
    assert "old.example" not in str(repaired.library_drifts)


def test_an_address_that_may_be_another_stores_is_only_told(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    library.studio.sql("UPDATE user_assets SET url = 'https://new.example/hero.png'")
    library.studio.sql(
        "INSERT INTO storage_copies (target, key) VALUES ('s3://new', %s)",
        key_of(library, hero.asset_id),
    )

    assert findings(run(library, apply=True)) == [("asset_url", hero.asset_id, "told")]


def test_while_the_store_is_down_counts_are_set_right_all_the_same(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    key = key_of(library, hero.asset_id)
    library.studio.sql("UPDATE storage_objects SET refcount = 0 WHERE key = %s", key)

    with store_down(library.studio):
        report = run(library, apply=True)

    assert findings(report) == [("reference_count", key, "repaired")]
    assert report.store_failure is not None
    assert not report.is_complete


def test_the_library_is_no_part_of_a_single_project(library: Library) -> None:
    library.studio.bring(film(["A pier"]))
    library.add(library.file("hero.png"))
    library.studio.sql("UPDATE storage_objects SET refcount = 9")

    report = library.studio.do(lambda services: reconcile(services, "film", apply=True))

    assert (report.library_drifts, report.is_complete) == ((), True)


def test_a_reference_that_is_added_meanwhile_is_never_lost(library: Library) -> None:
    """The one that adds it holds the object's row; counting waits, and then sees what it wrote."""
    hero = library.add(library.file("hero.png"))
    key = key_of(library, hero.asset_id)
    library.studio.sql("UPDATE storage_objects SET refcount = 5 WHERE key = %s", key)

    async def both(services: Services) -> bool:
        async with services.pool.connection() as counting, services.pool.connection() as adding:
            page = await next_page(counting, "", 100)
            assert page is not None
            [seen] = await miscounted_objects(counting, page)
            await counting.commit()
            await _share(adding, hero.asset_id, key)
            waiting = asyncio.create_task(recount_object(counting, seen))
            await _until_blocked(adding, counting.info.backend_pid)
            await adding.commit()
            return await waiting

    assert library.studio.do(both) is False  # counted otherwise by now
    run(library, apply=True)
    assert library.objects()[key] == ("present", 2)


async def _share(conn: Connection, asset_id: str, key: str) -> None:
    await conn.execute(
        "INSERT INTO user_assets (asset_id, client_id, name, kind, url, storage_key, mime_type,"
        " size_bytes, sha256, source) SELECT overlay(asset_id placing %s from 30), 'acme', name,"
        " kind, url, storage_key, mime_type, size_bytes, sha256, source FROM user_assets"
        " WHERE asset_id = %s",
        ("0" if asset_id[-1] != "0" else "1", asset_id),
    )
    await add_reference(conn, key)


async def _until_blocked(conn: Connection, pid: int) -> None:
    while True:
        cursor = await conn.execute("SELECT cardinality(pg_blocking_pids(%s)) AS n", (pid,))
        row = await cursor.fetchone()
        if row is not None and row["n"]:
            return
        await asyncio.sleep(0.01)


def test_pages_are_gone_through_to_the_end(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        library.add(library.file(f"{seed}.png", scene_file("PNG", seed)))
    library.studio.sql("UPDATE storage_objects SET refcount = 4")
    monkeypatch.setattr("scene_pipeline.pipeline.upkeep.drift_library.PAGE_SIZE", 2)

    report = run(library, apply=True)

    assert report.count("repaired") == len(library.objects()) > 2 * 2
    library.assert_sound()
