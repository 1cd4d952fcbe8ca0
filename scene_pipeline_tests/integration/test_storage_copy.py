"""A library moves to another store: every object arrives whole, and every address follows."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from scene_pipeline.database import objects
from scene_pipeline.database.turns import turn
from scene_pipeline.errors import StorageError, UsageError
from scene_pipeline.pipeline.reporting.stored_files import store_report_file
from scene_pipeline.pipeline.reporting.storyboard import make_storyboard
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline.pipeline.upkeep.reconcile import reconcile
from scene_pipeline.pipeline.upkeep.storage_copy import GIVE_UP_AFTER, TURN, copy_storage
from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyReport, CopyTarget
from scene_pipeline.settings import Settings
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.base import ObjectStore, StoredObject
from scene_pipeline.storage.bucket_diagnosis import public_read_policy
from scene_pipeline.storage.registry import build_store, store_identity
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_retention import until_somebody_waits
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS


def elsewhere(studio: Studio, tmp_path: Path, **variables: object) -> Settings:
    """Another store: files in another folder, behind another address."""
    update = {
        "storage_url": (tmp_path / "elsewhere").as_uri(),
        "public_url": "https://frames.example.org",
        **variables,
    }
    return studio.settings.model_copy(update=update)


def bucket(seaweedfs: SeaweedFS, studio: Studio) -> Settings:
    """A place of one's own in the S3 server's bucket."""
    return seaweedfs.settings(
        studio.settings.home_directory,
        storage_url=f"s3://{seaweedfs.bucket}/{uuid4().hex}",
    )


def target_of(
    settings: Settings,
    studio: Studio,
    store: ObjectStore | None = None,
    *,
    is_switched: bool = True,
    is_asked: bool = False,
) -> CopyTarget:
    """A target whose server already shows it, and whose addresses are trusted, unless said
    otherwise."""
    identity = store_identity(settings)
    return CopyTarget(
        store or build_store(settings, database_url=studio.database_url),
        identity,
        "https://nobody" if is_switched else settings.public_url,
        identity == store_identity(studio.settings),
        AnonymousReader(settings) if is_asked else None,
    )


def copy(
    studio: Studio,
    settings: Settings,
    *,
    store: ObjectStore | None = None,
    source: Callable[[ObjectStore], ObjectStore] = lambda store: store,
    tell: Callable[[object], None] | None = None,
    verify: bool = False,
    is_switched: bool = True,
    is_asked: bool = False,
) -> CopyReport:
    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    async def work(services: Services) -> CopyReport:
        services.sleep = at_once
        services.store = source(services.store)
        target = target_of(settings, studio, store, is_switched=is_switched, is_asked=is_asked)
        return await copy_storage(services, target, verify=verify, tell=tell)

    return studio.do(work)


def on(studio: Studio, settings: Settings) -> Studio:
    """The same library, with the settings switched."""
    return Studio(settings, studio.database_url, studio.providers)


def keys(studio: Studio) -> list[str]:
    rows = studio.sql("SELECT key FROM storage_objects WHERE state = 'present' ORDER BY key")
    return [row["key"] for row in rows]


def tables(studio: Studio) -> dict[str, list[str]]:
    return {
        "versions": [
            row["url"]
            for row in studio.sql(
                "SELECT storage_url AS url FROM scene_images ORDER BY scene_id, version"
            )
        ],
        "sheets": [row["url"] for row in studio.sql("SELECT storage_url AS url FROM storyboards")],
        "reports": [
            row["url"]
            for row in studio.sql("SELECT storage_url AS url FROM report_files ORDER BY id")
        ],
        "assets": [row["url"] for row in studio.sql("SELECT url FROM user_assets ORDER BY id")],
    }


def add_asset(studio: Studio, data: bytes = b"a bird") -> str:
    """Something in the library, by its rows and bytes alone."""
    digest = hashlib.sha256(data).hexdigest()
    key = f"assets/documents/asset_20260101T000000Z_{digest[:16]}.pdf"

    async def work(services: Services) -> None:
        store = services.store
        store.put(key, data, content_type="application/pdf", sha256=digest)
        async with services.pool.connection() as conn:
            await objects.register_intent(
                conn, key, sha256=digest, size_bytes=len(data), content_type="application/pdf"
            )
            await objects.mark_present(conn, key)
            await objects.add_reference(conn, key)
            await conn.execute(
                "INSERT INTO user_assets (asset_id, name, kind, url, storage_key, mime_type,"
                " size_bytes, sha256, source) VALUES (%s, 'bird', 'document', %s, %s,"
                " 'application/pdf', %s, %s, 'file')",
                (f"ast_{digest[:26]}", store.url(key), key, len(data), digest),
            )

    studio.do(work)
    return key


@pytest.fixture
def library(studio: Studio) -> Studio:
    """Two scenes with two versions each, a storyboard, a report, and a document of the library."""
    studio.bring(film(["A lighthouse", "A storm"]))
    for token in ("a", "b"):
        studio.run(mode="regenerate", token=token)

    async def sheet(services: Services) -> None:
        await make_storyboard("film", services)
        await store_report_file(services, None, "portfolio_report_csv", b"a\n", "text/csv")

    studio.do(sheet)
    add_asset(studio)
    return studio


class Wrapped:
    """A store that does something of its own in some places, and is the real one otherwise."""

    def __init__(self, store: ObjectStore, **instead: Callable[..., Any]) -> None:
        self._store = store
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._store, name)


def wrapped(store: ObjectStore, **instead: Callable[..., Any]) -> ObjectStore:
    return Wrapped(store, **instead)


def test_a_library_moves_to_a_bucket_and_back(library: Studio, seaweedfs: SeaweedFS) -> None:
    before = tables(library)
    there = bucket(seaweedfs, library)

    report = copy(library, there, verify=True)

    store = build_store(there)
    assert report.is_complete
    assert report.addresses == "corrected"
    assert report.sent == report.copied == report.present
    assert report.sent.objects == report.verified == len(keys(library)) == 9
    for key in keys(library):
        assert store.read(key) == (library.settings.home_directory / "frames" / key).read_bytes()
    moved = tables(library)
    assert all(url.startswith(seaweedfs.http_url) for urls in moved.values() for url in urls)
    assert report.moved == {
        "scene_images": 4,
        "documents": 2,
        "storyboards": 1,
        "report_files": 3,
        "user_assets": 1,
    }
    assert library.start_frame("scene_1") == moved["versions"][1]
    assert_invariants(library)

    switched = on(library, there)
    assert switched.do(lambda services: reconcile(services, apply=False)).drifts == ()
    assert switched.run().statuses == {"scene_1": "kept", "scene_2": "kept"}
    back = copy(switched, library.settings, verify=True)

    assert back.is_complete
    assert (back.sent.objects, back.found.objects) == (0, 9)  # the old store was left as it was
    assert tables(library) == before
    assert_invariants(library)


@pytest.fixture
def private(
    library: Studio, seaweedfs: SeaweedFS
) -> Iterator[tuple[Settings, Callable[..., None]]]:
    """A bucket of one's own that nobody may read, and what opens parts of it."""
    name = f"private-{uuid4().hex[:8]}"
    home = library.settings.home_directory
    settings = seaweedfs.settings(home, storage_url=f"s3://{name}/films")
    client = build_s3_client(settings)
    client.create_bucket(Bucket=name)

    def open_parts(*parts: str) -> None:
        policy = json.loads(public_read_policy(name, "films/"))
        [statement] = policy["Statement"]
        statement["Resource"] = [f"arn:aws:s3:::{name}/films/{part}/*" for part in parts]
        client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))

    yield settings, open_parts
    client.close()


def test_addresses_that_readers_cannot_read_are_not_written(
    library: Studio, private: tuple[Settings, Callable[..., None]]
) -> None:
    there, open_parts = private
    before = tables(library)

    closed = copy(library, there, is_asked=True)
    open_parts("projects")
    half_open = copy(library, there, is_asked=True)
    open_parts("projects", "assets")
    without_reports = copy(library, there, is_asked=True)

    for report, part in (
        (closed, "projects"),
        (half_open, "assets"),
        (without_reports, "reports"),
    ):
        assert not report.is_complete
        assert (report.addresses, report.failures) == ("held_back", [])
        assert report.copied == report.present
        assert report.unreadable is not None
        assert report.unreadable.code == "addresses_unreadable"
        assert f"/films/{part}/" in report.unreadable.message
        assert "403" in report.unreadable.message
        assert "s3:GetObject" in report.unreadable.next_action
        assert "SCENE_PIPELINE_URL_MODE=gateway" in report.unreadable.next_action
    assert tables(library) == before
    open_parts("projects", "assets", "reports")
    after = copy(library, there, is_asked=True)
    assert after.is_complete
    assert (after.sent.objects, after.moved["scene_images"]) == (0, 4)
    assert_invariants(library)


def test_addresses_may_be_trusted_where_only_others_can_read_them(
    library: Studio, private: tuple[Settings, Callable[..., None]]
) -> None:
    report = copy(library, private[0])

    assert report.is_complete
    assert report.moved["scene_images"] == 4


def test_a_page_in_the_place_of_pictures_holds_addresses_back(
    library: Studio, private: tuple[Settings, Callable[..., None]]
) -> None:
    """A sign-in page, or a cache that shows something else, answers with 200."""
    there, open_parts = private
    open_parts("projects", "assets")
    shows_others = wrapped(build_store(there), open=lambda _key: iter([b"what was copied"]))

    report = copy(library, there, store=shows_others, is_asked=True)

    assert report.addresses == "held_back"
    assert report.unreadable is not None
    assert "it shows other bytes" in report.unreadable.message


def test_addresses_of_our_own_server_are_written_though_it_is_not_up(
    library: Studio, private: tuple[Settings, Callable[..., None]]
) -> None:
    nobody = "http://127.0.0.1:9"
    gateway = private[0].model_copy(update={"url_mode": "gateway", "public_url": nobody})
    moved = library.settings.model_copy(update={"public_url": nobody})

    report = copy(library, gateway, is_switched=False, is_asked=True)
    back = copy(library, moved, is_switched=False, is_asked=True)

    for done in (report, back):
        assert done.is_complete
        assert done.addresses == "corrected"
        assert "no connection" in (done.unseen or "")
    assert all(url.startswith(nobody) for urls in tables(library).values() for url in urls)


def test_a_second_call_sends_nothing_and_changes_nothing(library: Studio, tmp_path: Path) -> None:
    there = elsewhere(library, tmp_path)
    copy(library, there)
    [revision] = library.sql("SELECT revision FROM projects")

    again = copy(library, there)

    assert again.is_complete
    assert (again.sent.objects, again.found.objects, again.moved) == (0, 0, {})
    assert library.sql("SELECT revision FROM projects") == [revision]
    assert library.sql("SELECT 1 FROM projects WHERE planned_revision < revision") == []


def test_what_is_there_already_is_compared_and_not_sent_again(
    library: Studio, tmp_path: Path
) -> None:
    """A copy that died between sending and noting it, or a library that comes back."""
    there = elsewhere(library, tmp_path)
    copy(library, there)
    library.sql("TRUNCATE storage_copies")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("sent again")

    report = copy(library, there, store=wrapped(build_store(there), put_file=refuse))

    assert report.is_complete
    assert report.found.objects == 9


def test_pictures_that_are_made_while_it_runs_come_along(library: Studio, tmp_path: Path) -> None:
    there = elsewhere(library, tmp_path)
    is_made: list[bool] = []

    def make_one(_progress: object) -> None:
        if not is_made:
            is_made.append(True)
            maker = threading.Thread(
                target=lambda: library.run("scene_1", mode="regenerate", token="meanwhile")
            )
            maker.start()
            maker.join(60)

    report = copy(library, there, tell=make_one)

    assert report.is_complete
    assert len(tables(library)["versions"]) == 5
    assert all(url.startswith("https://frames.example.org/") for url in tables(library)["versions"])
    assert report.copied.objects == len(keys(library)) == 10
    assert_invariants(library)


def test_an_editors_address_is_left_alone_and_told(library: Studio, tmp_path: Path) -> None:
    library.edit(["scenes", "scene_1", "scene_start_frame"], "https://editor.example.org/own.png")

    report = copy(library, elsewhere(library, tmp_path))

    assert report.is_complete
    assert [(drift.scene.scene_id, drift.version) for drift in report.drifts] == [("scene_1", 2)]
    assert library.start_frame("scene_1") == "https://editor.example.org/own.png"
    found = library.do(lambda services: reconcile(services, apply=True)).drifts
    assert [drift.kind for drift in found] == ["foreign_url"]


def test_an_editor_who_saves_at_the_same_instant_wins(library: Studio, tmp_path: Path) -> None:
    """The editor holds the project's row, and gives the scene an address of their own."""
    own = "https://editor.example.org/own.png"

    async def race(services: Services) -> CopyReport:
        target = target_of(elsewhere(library, tmp_path), library)
        async with services.pool.connection() as editor:
            await editor.execute(
                "UPDATE projects SET master_json = jsonb_set(master_json,"
                " '{scenes,scene_1,scene_start_frame}', to_jsonb(%s::text))",
                (own,),
            )
            copying = asyncio.create_task(copy_storage(services, target))
            await until_somebody_waits(editor)
            await editor.commit()
            return await copying

    report = library.do(race)

    assert report.is_complete
    assert [drift.scene.scene_id for drift in report.drifts] == ["scene_1"]
    assert library.start_frame("scene_1") == own
    assert (library.start_frame("scene_2") or "").startswith("https://frames.example.org/")


def test_an_old_address_that_turns_up_again_is_still_ours(library: Studio, tmp_path: Path) -> None:
    """A file that was exported before the move is imported after it."""
    exported = library.export()
    old = library.start_frame("scene_1")
    copy(library, elsewhere(library, tmp_path))
    new = library.start_frame("scene_1")

    library.edit(["scenes", "scene_1", "scene_start_frame"], old)
    library.do(lambda services: reconcile(services, apply=True))

    assert new != old
    assert library.start_frame("scene_1") == new
    library.bring(json.dumps(exported | {"notes": "new words"}).encode())
    assert library.start_frame("scene_1") == new
    assert_invariants(library)


def test_documents_that_hold_addresses_of_the_library_are_told(
    library: Studio, tmp_path: Path
) -> None:
    """They are people's words; what they lead to is there as long as the old store is."""
    [asset] = library.sql("SELECT url FROM user_assets LIMIT 1")
    library.edit(("poster",), f"{asset['url']}?size=large")
    other = elsewhere(library, tmp_path)

    told = [copy(library, other).named_elsewhere for _ in range(2)]
    [asset] = library.sql("SELECT url FROM user_assets LIMIT 1")
    library.edit(("poster",), asset["url"])

    assert told == [["film"], ["film"]]
    assert copy(library, other).named_elsewhere == []


def test_the_same_store_behind_another_address_is_corrected_and_not_copied(
    library: Studio,
) -> None:
    behind_cdn = library.settings.model_copy(update={"public_url": "https://cdn.example.org"})

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("sent")

    store = wrapped(build_store(behind_cdn), put_file=refuse, put=refuse)
    report = copy(library, behind_cdn, store=store)

    assert report.is_complete
    assert (report.sent.objects, report.copied.objects) == (0, 9)
    assert all(
        url.startswith("https://cdn.example.org/")
        for urls in tables(library).values()
        for url in urls
    )
    assert_invariants(library)


def test_what_the_same_store_does_not_have_keeps_its_address(library: Studio) -> None:
    [gone, *_] = keys(library)
    (library.settings.home_directory / "frames" / gone).unlink()
    behind_cdn = library.settings.model_copy(update={"public_url": "https://cdn.example.org"})

    report = copy(library, behind_cdn)

    [failure] = report.failures
    assert (failure.key, failure.side, failure.failure.code) == (gone, "source", "object_missing")
    assert report.addresses == "corrected"
    assert not report.is_complete
    old = [url for urls in tables(library).values() for url in urls if "cdn.example" not in url]
    assert len(old) == 1
    assert old[0].endswith(gone)


def test_addresses_of_our_own_server_wait_until_it_shows_the_new_store(
    library: Studio, tmp_path: Path
) -> None:
    there = elsewhere(library, tmp_path)
    before = tables(library)

    report = copy(library, there, is_switched=False)

    assert report.is_complete
    assert (report.addresses, report.waiting_addresses) == ("wait_for_switch", 9)
    assert tables(library) == before
    after = copy(on(library, there), there, is_switched=False)
    assert (after.addresses, after.moved["scene_images"]) == ("corrected", 4)
    assert_invariants(library)


def test_a_target_that_refuses_half_way_holds_addresses_back_and_is_gone_on_with(
    library: Studio, tmp_path: Path
) -> None:
    there = elsewhere(library, tmp_path)
    before = tables(library)
    real = build_store(there)
    taken: list[str] = []

    def put_file(key: str, path: Path, **facts: str) -> StoredObject:
        if len(taken) >= 3:
            raise StorageError("The bucket is full.", code="storage_full")
        taken.append(key)
        return real.put_file(key, path, **facts)

    report = copy(library, there, store=wrapped(real, put_file=put_file))

    assert not report.is_complete
    assert report.addresses == "held_back"
    assert {failed.failure.code for failed in report.failures} == {"storage_full"}
    assert report.copied.objects == 3
    assert tables(library) == before
    rest = copy(library, there)
    assert rest.is_complete
    assert (rest.sent.objects, rest.found.objects) == (6, 0)


def test_a_target_that_is_down_is_not_asked_for_everything(studio: Studio, tmp_path: Path) -> None:
    for number in range(40):
        add_asset(studio, f"file {number}".encode())
    asked: list[str] = []

    def head(key: str) -> None:
        asked.append(key)
        raise StorageError("Nobody answers.", retryable=True)

    store = wrapped(build_store(elsewhere(studio, tmp_path)), head=head)
    report = copy(studio, elsewhere(studio, tmp_path), store=store)

    assert report.given_up is not None
    assert GIVE_UP_AFTER <= len(set(asked)) < 40
    assert not report.is_complete


def test_other_bytes_under_a_key_are_never_overwritten(library: Studio, tmp_path: Path) -> None:
    there = elsewhere(library, tmp_path)
    [taken, *_] = keys(library)
    foreign = tmp_path / "elsewhere" / taken
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"somebody else's")

    report = copy(library, there)

    [failure] = report.failures
    assert (failure.key, failure.side, failure.failure.code) == (taken, "target", "copy_damaged")
    assert "Remove that object" in failure.failure.next_action
    assert report.addresses == "held_back"
    assert foreign.read_bytes() == b"somebody else's"
    foreign.unlink()
    assert copy(library, there).is_complete


def test_wrong_bytes_in_the_source_are_named_and_the_rest_goes_on(
    library: Studio, tmp_path: Path
) -> None:
    there = elsewhere(library, tmp_path)
    [damaged, lost, *others] = [key for key in keys(library) if "/scenes/" in key]

    def spoil(store: ObjectStore) -> ObjectStore:
        def read(key: str) -> Iterator[bytes]:
            if key == lost:
                raise StorageError("It is gone.", code="object_missing")
            yield b"x" if key == damaged else b"".join(store.open(key))

        return wrapped(store, open=read)

    report = copy(library, there, source=spoil)

    assert {(one.key, one.side, one.failure.code) for one in report.failures} == {
        (damaged, "source", "source_corrupted"),
        (lost, "source", "object_missing"),
    }
    assert not report.is_complete
    assert (report.addresses, report.copied.objects) == ("corrected", 7)
    urls = tables(library)["versions"]
    assert sum(url.startswith("https://frames.example.org/") for url in urls) == len(others)
    assert list((tmp_path / "home" / "copying").iterdir()) == []


def test_reading_back_finds_what_was_lost_or_damaged_in_the_target(
    library: Studio, tmp_path: Path
) -> None:
    there = elsewhere(library, tmp_path)
    copy(library, there)
    [damaged, lost, *_] = keys(library)
    (tmp_path / "elsewhere" / damaged).write_bytes(b"x")
    (tmp_path / "elsewhere" / lost).unlink()

    report = copy(library, there, verify=True)

    assert [(one.key, one.failure.code) for one in report.failures] == [(damaged, "copy_damaged")]
    assert (tmp_path / "elsewhere" / lost).is_file()
    assert report.sent.objects == 1
    assert report.verified == 8
    (tmp_path / "elsewhere" / damaged).unlink()
    assert copy(library, there, verify=True).is_complete


def test_what_is_collected_meanwhile_is_no_failure(library: Studio, tmp_path: Path) -> None:
    there = elsewhere(library, tmp_path)
    asset = next(key for key in keys(library) if key.startswith("assets/"))

    def collected(store: ObjectStore) -> ObjectStore:
        def read(key: str) -> Iterator[bytes]:
            if key == asset:
                library.sql(
                    "UPDATE storage_objects SET state = 'deleted', refcount = 0 WHERE key = %s", key
                )
                raise StorageError("It is gone.", code="object_missing")
            yield from store.open(key)

        return wrapped(store, open=read)

    report = copy(library, there, source=collected)

    assert report.is_complete
    assert report.copied == report.present
    assert report.copied.objects == 8


def test_between_copy_and_switch_nothing_is_lost(library: Studio, tmp_path: Path) -> None:
    """Everything that runs by itself meanwhile works on the old store."""
    there = elsewhere(library, tmp_path)
    copy(library, there)
    kept = set(keys(library))

    library.sql("UPDATE storage_objects SET created_at = created_at - interval '9 days'")
    swept = library.do(lambda services: collect(services, apply=True))
    drifts = library.do(lambda services: reconcile(services, apply=True)).drifts
    run = library.run("scene_2", mode="regenerate", token="late")

    assert (swept.deleted.objects, swept.unknown.objects, drifts) == (0, 0, ())
    assert run.statuses == {"scene_2": "generated"}
    assert copy(library, there).is_complete
    switched = on(library, there)
    assert kept < set(keys(library))
    assert switched.do(lambda services: reconcile(services, apply=False)).drifts == ()
    assert switched.do(lambda services: collect(services, apply=True)).deleted.objects == 0
    assert_invariants(library)


def test_a_bucket_without_public_addresses_gets_those_of_our_gateway(
    library: Studio, seaweedfs: SeaweedFS
) -> None:
    """They lead to whichever store is in use, so that they are right before the switch, too."""
    there = bucket(seaweedfs, library).model_copy(update={"url_mode": "gateway"})

    report = copy(library, there, is_switched=False)

    assert (report.addresses, report.waiting_addresses) == ("corrected", 0)
    server = library.settings.public_url
    for key, url in zip(
        [row["storage_path"] for row in library.sql("SELECT storage_path FROM storyboards")],
        tables(library)["sheets"],
        strict=True,
    ):
        assert url == f"{server}/media/{key}"
    assert_invariants(library)


def test_a_bucket_is_copied_into_the_database_and_its_addresses_wait(
    library: Studio, seaweedfs: SeaweedFS
) -> None:
    there = bucket(seaweedfs, library)
    copy(library, there)
    switched = on(library, there)
    inside = library.settings.model_copy(update={"storage_url": "database://"})

    report = copy(switched, inside, is_switched=False, verify=True)
    after = copy(on(library, inside), inside, is_switched=False)

    assert report.is_complete
    assert (report.verified, report.addresses) == (9, "wait_for_switch")
    assert library.sql("SELECT key FROM asset_blobs ORDER BY key") == [
        {"key": key} for key in keys(library)
    ]
    assert after.addresses == "corrected"
    assert library.start_frame("scene_1") in tables(library)["versions"]
    assert_invariants(library)


def test_one_copy_at_a_time(library: Studio, tmp_path: Path) -> None:
    async def while_another_is_at_it(services: Services) -> None:
        target = target_of(elsewhere(library, tmp_path), library)
        async with turn(library.database_url, TURN) as is_ours:
            assert is_ours
            with pytest.raises(UsageError) as caught:
                await copy_storage(services, target)
            assert caught.value.error_code == "storage_copy_running"

    library.do(while_another_is_at_it)
    assert copy(library, elsewhere(library, tmp_path)).is_complete
