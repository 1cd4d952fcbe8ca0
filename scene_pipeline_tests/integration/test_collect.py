"""Garbage: what nothing needs is removed in two phases, and nothing else ever is."""

import hashlib
from collections.abc import Awaitable
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from scene_pipeline.database import collection, objects, storyboards
from scene_pipeline.errors import LedgerError, StorageError
from scene_pipeline.pipeline.reporting.stored_files import store_report_file
from scene_pipeline.pipeline.reporting.storyboard import StoryboardFacts, make_storyboard
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline.pipeline.upkeep.collect_report import CollectReport
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline_tests.films import Studio, assert_invariants, film

DAY = timedelta(hours=24)
PROJECT = "projects/0f8fad5b-d9cb-469f-a165-70867728950e"


def sweep(studio: Studio, **options: object) -> CollectReport:
    async def work(services: Services) -> CollectReport:
        return await collect(services, **options)  # type: ignore[arg-type]  # as given

    return studio.do(work)


def leave(studio: Studio, name: str, *, hours: int = 48, put: bool = True) -> str:
    """An upload that never ended, some hours ago; returns its key."""
    data = name.encode()
    digest = hashlib.sha256(data).hexdigest()
    key = f"{PROJECT}/scenes/{name}_20200101T000000Z_{digest[:16]}.png"

    async def work(services: Services) -> None:
        async with services.pool.connection() as conn:
            await objects.register_intent(
                conn, key, sha256=digest, size_bytes=len(data), content_type="image/png"
            )
        if put:
            services.store.put(key, data, content_type="image/png", sha256=digest)

    studio.do(work)
    age(studio, hours)
    return key


def age(studio: Studio, hours: int = 48) -> None:
    studio.sql("UPDATE storage_objects SET created_at = created_at - %s", timedelta(hours=hours))


def state_of(studio: Studio, key: str) -> str:
    [row] = studio.sql("SELECT state FROM storage_objects WHERE key = %s", key)
    return str(row["state"])


def file_of(studio: Studio, key: str) -> Path:
    return studio.settings.home_directory / "frames" / key


def files(studio: Studio) -> set[str]:
    root = studio.settings.home_directory / "frames"
    return {str(path.relative_to(root)) for path in (root / "projects").rglob("*.*")}


def test_a_dry_run_tells_and_changes_nothing(studio: Studio) -> None:
    key = leave(studio, "half")

    report = sweep(studio)

    assert (report.leftovers.objects, report.leftovers.size_bytes) == (1, len("half"))
    assert report.deleted.objects == 0
    assert state_of(studio, key) == "intent"
    assert file_of(studio, key).exists()


def test_leftovers_are_removed_and_what_is_needed_or_young_is_kept(studio: Studio) -> None:
    studio.bring(film(["A lighthouse", "A storm"]))
    studio.run()
    needed = files(studio)
    old, unsent = leave(studio, "old"), leave(studio, "unsent", put=False)
    young = leave(studio, "young", hours=0)

    report = sweep(studio, apply=True)

    assert (report.leftovers.objects, report.deleted.objects) == (2, 2)
    assert report.is_complete
    assert report.failures == []
    assert files(studio) == needed | {young}
    assert state_of(studio, old) == state_of(studio, unsent) == "deleted"
    assert state_of(studio, young) == "intent"
    assert sweep(studio, apply=True).deleted.objects == 0
    assert_invariants(studio)


def test_a_call_is_bounded_and_the_next_one_goes_on(studio: Studio) -> None:
    for number in range(5):
        leave(studio, f"leftover{number}")

    reports = [sweep(studio, apply=True, limit=2) for _ in range(3)]

    assert [report.deleted.objects for report in reports] == [2, 2, 1]
    assert [report.is_complete for report in reports] == [False, False, True]
    assert files(studio) == set()


@pytest.mark.parametrize("is_gone", [False, True], ids=["before_removing", "after_removing"])
def test_a_crash_between_the_phases_is_finished_by_the_next_call(
    is_gone: bool, studio: Studio
) -> None:
    key = leave(studio, "half")

    async def first_phase(services: Services) -> None:
        async with services.pool.connection() as conn:
            await collection.mark_leftovers(conn, DAY, 10)
        if is_gone:
            services.store.delete(key)

    studio.do(first_phase)

    dry = sweep(studio)
    report = sweep(studio, apply=True)

    assert dry.unfinished.objects == 1
    assert (report.leftovers.objects, report.unfinished.objects) == (0, 1)
    assert state_of(studio, key) == "deleted"
    assert not file_of(studio, key).exists()


def test_a_store_that_refuses_leaves_the_mark_for_the_next_call(studio: Studio) -> None:
    key = leave(studio, "half")
    file = file_of(studio, key)
    file.unlink()
    file.mkdir()  # something that cannot be unlinked

    refused = sweep(studio, apply=True)
    file.rmdir()
    done = sweep(studio, apply=True)

    assert len(refused.failures) == 1
    assert (refused.is_complete, refused.deleted.objects) == (False, 0)
    assert (done.is_complete, done.deleted.objects) == (True, 1)
    assert state_of(studio, key) == "deleted"


def test_a_collected_key_is_never_used_again(studio: Studio) -> None:
    key = leave(studio, "half")
    digest = hashlib.sha256(b"half").hexdigest()
    sweep(studio, apply=True)

    async def again(services: Services, state: str) -> list[str]:
        codes = []
        async with services.pool.connection() as conn:
            await conn.execute("UPDATE storage_objects SET state = %s WHERE key = %s", (state, key))
            attempts: list[Awaitable[None]] = [
                objects.register_intent(
                    conn, key, sha256=digest, size_bytes=4, content_type="image/png"
                ),
                objects.mark_present(conn, key),
                objects.add_reference(conn, key),
            ]
            for attempt in attempts:
                with pytest.raises(LedgerError) as caught:
                    await attempt
                codes.append(caught.value.error_code)
        return codes

    for state in ("deleting", "deleted"):
        codes = studio.do(partial(again, state=state))
        assert codes == ["object_collected"] * 3


def test_registering_again_gives_a_new_period_of_grace(studio: Studio) -> None:
    key = leave(studio, "slow")

    async def again(services: Services) -> None:
        async with services.pool.connection() as conn:
            digest = hashlib.sha256(b"slow").hexdigest()
            await objects.register_intent(
                conn, key, sha256=digest, size_bytes=4, content_type="image/png"
            )

    studio.do(again)

    assert sweep(studio, apply=True).deleted.objects == 0
    assert state_of(studio, key) == "intent"


def test_a_paid_picture_that_waits_to_be_recorded_is_not_garbage(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    broken = Studio(
        studio.settings.model_copy(update={"failpoint": "after_stored:raise"}), studio.database_url
    )
    broken.run()
    age(studio)

    report = sweep(studio, apply=True)
    studio.run()

    assert studio.sql("SELECT count(*) AS n FROM storage_objects") == [{"n": 1}]
    assert report.leftovers.objects == 0
    assert_invariants(studio)


@pytest.mark.parametrize("failpoint", ["after_intent", "after_upload", "after_stored"])
def test_a_frame_whose_key_was_collected_gets_another(failpoint: str, studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    broken = Studio(
        studio.settings.model_copy(update={"failpoint": f"{failpoint}:raise"}), studio.database_url
    )
    broken.run()
    [used_up] = studio.sql("SELECT key FROM storage_objects")
    # What a collector leaves that was asleep while the row changed its mind.
    studio.sql("UPDATE storage_objects SET state = 'deleting'")
    sweep(studio, apply=True)
    assert files(studio) == set()

    run = studio.run()

    assert run.statuses == {"scene_1": "generated"}
    [row] = studio.sql("SELECT storage_path, storage_url FROM scene_images")
    assert row["storage_path"] != used_up["key"]
    assert files(studio) == {row["storage_path"]}
    assert urlsplit(row["storage_url"]).path == f"/frames/{row['storage_path']}"
    assert studio.sql("SELECT submit_count FROM generations") == [{"submit_count": 1}]
    assert_invariants(studio)


def test_bytes_that_arrive_after_their_removal_are_removed_again(studio: Studio) -> None:
    key = leave(studio, "half")
    sweep(studio, apply=True)
    file_of(studio, key).write_bytes(b"half")  # an upload that was paused for more than a day

    dry = sweep(studio)
    report = sweep(studio, apply=True)

    assert (dry.late.objects, report.late.objects, report.deleted.objects) == (1, 1, 1)
    assert files(studio) == set()
    assert state_of(studio, key) == "deleted"


def test_unknown_objects_are_reported_and_removed_only_when_asked(studio: Studio) -> None:
    def put(key: str) -> str:
        async def work(services: Services) -> None:
            digest = hashlib.sha256(b"x").hexdigest()
            services.store.put(key, b"x", content_type="image/png", sha256=digest)

        studio.do(work)
        return key

    old = put(f"{PROJECT}/scenes/a_20200101T000000Z_0123456789abcdef.png")
    young = put(f"{PROJECT}/scenes/b_29990101T000000Z_0123456789abcdef.png")
    undated = put(f"{PROJECT}/derivatives/thumbnail_0123456789abcdef.png")

    dry = sweep(studio, delete_unknown=True)
    applied = sweep(studio, apply=True)
    assert files(studio) == {old, young, undated}
    asked = sweep(studio, apply=True, delete_unknown=True)

    for report in (dry, applied, asked):
        assert (report.unknown.objects, report.undated.objects) == (1, 1)
        assert sorted(report.unknown_keys) == sorted([old, undated])
    assert asked.deleted.objects == 1
    assert files(studio) == {young, undated}
    assert state_of(studio, old) == "deleted"


def test_the_newest_contact_sheets_and_pages_are_kept(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()

    async def seven_sheets(services: Services) -> list[StoryboardFacts]:
        made = []
        for number in range(7):
            async with services.pool.connection() as conn:
                await conn.execute(
                    "UPDATE scenes SET scene_prompt = %s", (f"Another state, {number}",)
                )
            made.append(await make_storyboard("film", services))
        return made

    made = studio.do(seven_sheets)
    sheets = [one.storage_path for one in made]
    pages = [one.page.storage_path for one in made]
    [frames] = {one.start_frames.storage_path for one in made}
    assert len(set(sheets)) == len(set(pages)) == 7
    young = sweep(studio)
    age(studio)

    report = sweep(studio, apply=True)

    assert young.leftovers.objects == 0
    assert (young.old_sheets, young.old_reports) == (2, 2)
    assert (report.old_sheets, report.old_reports) == (2, 2)
    assert (report.leftovers.objects, report.deleted.objects) == (4, 4)
    kept = {key for key in files(studio) if "/sheets/" in key}
    assert kept == set(sheets[2:])
    rows = studio.sql("SELECT storage_path FROM storyboards")
    assert {row["storage_path"] for row in rows} == kept
    kept = {key for key in files(studio) if "/reports/" in key}
    assert kept == {*pages[2:], frames}
    rows = studio.sql("SELECT storage_path FROM report_files")
    assert {row["storage_path"] for row in rows} == kept
    assert sweep(studio, apply=True).deleted.objects == 0
    assert_invariants(studio)


def test_reports_over_all_projects_are_kept_like_those_of_one(studio: Studio) -> None:
    async def seven_reports(services: Services) -> list[str]:
        rows = [
            await store_report_file(
                services, None, "portfolio_report_csv", name.encode(), "text/csv"
            )
            for name in "abcdefg"
        ]
        return [row.storage_path for row in rows]

    kept = studio.do(seven_reports)[2:]
    unknown = "reports/portfolio_report_csv_20200101T000000Z_0123456789abcdef.csv"
    data = b"of another database"

    async def put(services: Services) -> None:
        digest = hashlib.sha256(data).hexdigest()
        services.store.put(unknown, data, content_type="text/csv", sha256=digest)

    studio.do(put)
    age(studio)

    report = sweep(studio, apply=True)

    assert (report.old_reports, report.deleted.objects) == (2, 2)
    assert report.unknown_keys == [unknown]
    found = (studio.settings.home_directory / "frames" / "reports").iterdir()
    assert {f"reports/{path.name}" for path in found} == {*kept, unknown}
    assert_invariants(studio)


def test_a_sheet_whose_object_was_collected_is_not_recorded(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    [project] = studio.sql("SELECT id FROM projects")
    key = leave(studio, "sheet")
    sweep(studio, apply=True)

    async def record(services: Services) -> None:
        async with services.pool.connection() as conn:
            sheet = storyboards.StoryboardRow(project["id"], "f", key, "u", "0" * 64, 1, 1, 1, None)
            await storyboards.record_storyboard(conn, sheet)

    with pytest.raises(LedgerError) as caught:
        studio.do(record)

    assert caught.value.error_code == "object_collected"
    assert studio.sql("SELECT 1 FROM storyboards") == []


def test_a_mark_on_a_referenced_object_is_refused_by_the_table(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()

    with pytest.raises(psycopg.errors.CheckViolation):
        studio.sql("UPDATE storage_objects SET state = 'deleting'")


class _KeepsParts:
    """A store in which parts of uploads that died stay."""

    def __init__(self, store: ObjectStore, error: StorageError | None = None) -> None:
        self._store = store
        self._error = error
        self.asked: list[timedelta] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def abort_unfinished_uploads(self, *, older_than: timedelta) -> int:
        self.asked.append(older_than)
        if self._error is not None:
            raise self._error
        return 3


def sweep_parts(
    studio: Studio, *, apply: bool, error: StorageError | None = None
) -> tuple[CollectReport, list[timedelta]]:
    async def work(services: Services) -> tuple[CollectReport, list[timedelta]]:
        store = _KeepsParts(services.store, error)
        services.store = store  # type: ignore[assignment]  # by way of __getattr__
        return await collect(services, apply=apply), store.asked

    return studio.do(work)


def test_parts_of_uploads_that_died_are_given_up_where_a_store_keeps_them(studio: Studio) -> None:
    told, not_asked = sweep_parts(studio, apply=False)
    done, asked = sweep_parts(studio, apply=True)

    assert (told.unfinished_uploads, not_asked) == (0, [])
    assert (done.unfinished_uploads, asked) == (3, [DAY])


def test_a_store_that_lists_no_parts_is_no_failure_and_one_that_fails_is(studio: Studio) -> None:
    unsupported = StorageError("It lists none.", code="storage_unsupported")
    quiet, _ = sweep_parts(studio, apply=True, error=unsupported)
    loud, _ = sweep_parts(studio, apply=True, error=StorageError("It is down."))

    assert quiet.failures == []
    assert loud.failures == ["[storage_failed] It is down."]


def test_uploads_that_nobody_waits_for_are_counted_and_left_to_their_sweep(
    studio: Studio,
) -> None:
    waiting, forgotten = f"uploads/{uuid4()}.png", f"uploads/{uuid4()}.png"

    async def work(services: Services) -> None:
        digest = hashlib.sha256(b"abc").hexdigest()
        for key in (waiting, forgotten):
            services.store.put(key, b"abc", content_type="image/png", sha256=digest)

    studio.do(work)
    studio.sql(
        "INSERT INTO asset_imports (kind, source, upload_key, upload_content_type,"
        " upload_max_bytes, state) VALUES ('image', 'upload', %s, 'image/png', 9,"
        " 'awaiting_upload')",
        waiting,
    )

    report = sweep(studio, apply=True)

    assert (report.uploads.objects, report.uploads.size_bytes) == (1, 3)
    assert file_of(studio, forgotten).exists()


def test_what_arrives_late_in_the_library_is_removed_too(studio: Studio) -> None:
    digest = hashlib.sha256(b"late").hexdigest()
    key = f"assets/images/asset_20200101T000000Z_{digest[:16]}.png"
    studio.sql("INSERT INTO storage_objects (key, state) VALUES (%s, 'deleted')", key)

    async def work(services: Services) -> None:
        services.store.put(key, b"late", content_type="image/png", sha256=digest)

    studio.do(work)
    report = sweep(studio, apply=True)

    assert (report.late.objects, report.deleted.objects) == (1, 1)
    assert not file_of(studio, key).exists()
