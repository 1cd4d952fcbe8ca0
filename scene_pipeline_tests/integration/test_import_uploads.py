"""Uploads straight into the store: permitted, confirmed, then checked like anything else."""

import hashlib
import os
import resource
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from scene_pipeline.database.imports import ImportRow
from scene_pipeline.errors import NotFoundError, StorageError, UsageError
from scene_pipeline.pipeline.library.import_events import ImportOutcome
from scene_pipeline.pipeline.library.sweeping import SweepReport, sweep_uploads
from scene_pipeline.pipeline.library.uploads import (
    UploadRequest,
    begin_upload,
    complete_upload,
    remove_upload,
)
from scene_pipeline.pipeline.services import Services
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.base import PresignedUpload
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.import_desk import ImportDesk
from scene_pipeline_tests.standins.media_server import free_port, serving
from scene_pipeline_tests.standins.pictures import scene_file
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS
from scene_pipeline_tests.standins.sending import send

HERO = scene_file("PNG", 1)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> ImportDesk:
    """A library on a local store; the objects arrive as the upload endpoint would put them."""
    studio = Studio(load_settings(home=tmp_path / "home"), database_url)
    return ImportDesk(studio)


def begin(desk: ImportDesk, **details: object) -> tuple[uuid.UUID, PresignedUpload]:
    request = UploadRequest(**{"kind": "image", "content_type": "image/png", **details})  # type: ignore[arg-type]  # a table's
    return desk.studio.do(lambda services: begin_upload(services, request))


def arrive(desk: ImportDesk, import_id: uuid.UUID, data: bytes = HERO) -> None:
    """Put the object where the upload was permitted, as the endpoint would."""
    [row] = desk.studio.sql("SELECT upload_key FROM asset_imports WHERE id = %s", import_id)
    store = build_store(desk.studio.settings)
    try:
        digest = hashlib.sha256(data).hexdigest()
        store.put(row["upload_key"], data, content_type="image/png", sha256=digest)
    finally:
        store.close()


def complete(desk: ImportDesk, import_id: uuid.UUID) -> ImportRow:
    return desk.studio.do(lambda services: complete_upload(services, import_id))


def uploads_left(desk: ImportDesk) -> list[str]:
    async def work(services: Services) -> list[str]:
        return await services.call(lambda: [one.key for one in services.store.list("uploads/")])

    return desk.studio.do(work)


def sweep(desk: ImportDesk) -> SweepReport:
    return desk.studio.do(sweep_uploads)


def only(outcomes: dict[str, ImportOutcome]) -> ImportOutcome:
    [outcome] = outcomes.values()
    return outcome


def test_an_upload_becomes_an_asset_and_leaves_nothing(desk: ImportDesk) -> None:
    import_id, permission = begin(desk, name="Our hero", tags=("Cast",), size_bytes=len(HERO))
    arrive(desk, import_id)

    assert complete(desk, import_id).state == "pending"
    outcome = only(desk.carry_out())

    assert permission.max_bytes == len(HERO)
    assert (outcome.status, outcome.size_bytes is not None) == ("new", True)
    [asset] = desk.studio.sql("SELECT * FROM user_assets")
    assert (asset["name"], asset["tags"], asset["source"]) == ("Our hero", ["cast"], "upload")
    assert asset["storage_key"].startswith("assets/")
    assert uploads_left(desk) == []
    [register] = desk.studio.sql("SELECT state FROM storage_objects WHERE key LIKE 'uploads/%%'")
    assert register["state"] == "deleted"


def test_confirming_again_is_harmless(desk: ImportDesk) -> None:
    import_id, _ = begin(desk)
    arrive(desk, import_id)

    assert [complete(desk, import_id).state for _ in range(2)] == ["pending", "pending"]
    desk.carry_out()

    assert complete(desk, import_id).state == "done"
    assert len(desk.rows()) == 1


def test_confirming_what_never_arrived_says_so(desk: ImportDesk) -> None:
    import_id, _ = begin(desk)

    with pytest.raises(UsageError) as raised:
        complete(desk, import_id)

    assert raised.value.error_code == "upload_missing"
    arrive(desk, import_id)
    assert complete(desk, import_id).state == "pending"


def test_an_unknown_upload_is_told(desk: ImportDesk) -> None:
    with pytest.raises(NotFoundError):
        complete(desk, uuid.uuid4())


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ({"content_type": "text/html"}, "kind_mismatch"),
        ({"content_type": "image/svg+xml"}, "kind_mismatch"),
        ({"content_type": "video/mp4"}, "kind_mismatch"),
        ({"kind": "video"}, "kind_mismatch"),
        ({"size_bytes": 26 * 2**20}, "too_large"),
        ({"size_bytes": 0}, "file_empty"),
        ({"name": " "}, "name_invalid"),
    ],
)
def test_what_is_not_taken_is_not_permitted(
    desk: ImportDesk, details: dict[str, object], code: str
) -> None:
    with pytest.raises(UsageError) as raised:
        begin(desk, **details)

    assert raised.value.error_code == code
    assert desk.rows() == []


def test_more_than_was_permitted_is_removed(desk: ImportDesk) -> None:
    """As where a store cannot hold the limit itself."""
    import_id, _ = begin(desk, size_bytes=10)
    arrive(desk, import_id)

    for _ in range(2):
        with pytest.raises(UsageError) as raised:
            complete(desk, import_id)
        assert raised.value.error_code == "too_large"

    assert uploads_left(desk) == []


def test_what_is_not_what_it_was_said_to_be_is_removed(desk: ImportDesk) -> None:
    import_id, _ = begin(desk)
    arrive(desk, import_id, b"<html>no picture</html>")
    complete(desk, import_id)

    outcome = only(desk.carry_out())

    assert outcome.status == "failed"
    assert desk.studio.sql("SELECT 1 FROM user_assets") == []
    assert uploads_left(desk) == []


def test_what_nobody_confirmed_is_swept_after_a_day(desk: ImportDesk) -> None:
    old, young, confirmed = (begin(desk)[0] for _ in range(3))
    for import_id in (old, young, confirmed):
        arrive(desk, import_id)
    complete(desk, confirmed)
    desk.studio.sql(
        "UPDATE asset_imports SET created_at = now() - interval '25 hours' WHERE id <> %s", young
    )

    report = sweep(desk)

    assert (report.expired, report.failed_objects) == (1, [])
    states = {row["id"]: row["state"] for row in desk.rows()}
    assert states == {old: "expired", young: "awaiting_upload", confirmed: "pending"}
    assert len(uploads_left(desk)) == 2
    with pytest.raises(UsageError) as raised:
        complete(desk, old)
    assert raised.value.error_code == "upload_expired"
    assert sweep(desk) == SweepReport()


def test_the_collector_leaves_an_awaited_upload_alone(desk: ImportDesk) -> None:
    from scene_pipeline.pipeline.upkeep.collect import collect  # noqa: PLC0415

    import_id, _ = begin(desk)
    arrive(desk, import_id)
    desk.studio.sql("UPDATE storage_objects SET created_at = now() - interval '10 days'")

    desk.studio.do(lambda services: collect(services, apply=True, grace=timedelta(hours=1)))

    assert complete(desk, import_id).state == "pending"
    assert only(desk.carry_out()).status == "new"


@pytest.fixture(params=["s3", "local", "database"])
def reachable(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> Iterator[tuple[ImportDesk, Path | None]]:
    """A library whose store takes uploads from outside, and what its server is trusted by."""
    home = tmp_path / "home"
    if request.param == "s3":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        yield ImportDesk(Studio(server.settings(home), database_url)), server.ca_file
        return
    settings = load_settings(
        home=home,
        public_url=f"http://127.0.0.1:{free_port()}",
        storage_url="database://" if request.param == "database" else None,
    )
    store = build_store(settings, database_url=database_url)
    try:
        with serving(settings, store):
            yield ImportDesk(Studio(settings, database_url)), None
    finally:
        store.close()


def test_an_upload_through_the_permission_itself(
    reachable: tuple[ImportDesk, Path | None],
) -> None:
    desk, ca_file = reachable
    import_id, permission = begin(desk, size_bytes=len(HERO))

    assert send(permission, HERO + b"x", "image/png", ca_file) >= 400
    assert send(permission, HERO, "image/png", ca_file) < 300

    complete(desk, import_id)
    assert only(desk.carry_out()).status == "new"
    assert str(import_id) not in str(uploads_left(desk))


def test_what_arrives_by_a_permission_that_is_used_up_is_swept(desk: ImportDesk) -> None:
    import_id, _ = begin(desk)
    arrive(desk, import_id)
    complete(desk, import_id)
    desk.carry_out()
    arrive(desk, import_id, scene_file("PNG", 2))
    awaited, _ = begin(desk)
    arrive(desk, awaited)

    assert sweep(desk).removed_objects == 1

    assert uploads_left(desk) == [f"uploads/{awaited}.png"]


@pytest.fixture
def foreign(desk: ImportDesk) -> tuple[uuid.UUID, str]:
    """An upload whose row, as another program wrote it, names what an asset has."""
    kept, _ = begin(desk)
    arrive(desk, kept)
    complete(desk, kept)
    desk.carry_out()
    [asset] = desk.studio.sql("SELECT storage_key FROM user_assets")
    import_id, _ = begin(desk)
    for check in desk.studio.sql(
        "SELECT conname FROM pg_constraint WHERE contype = 'c'"
        " AND conrelid = 'asset_imports'::regclass"
    ):
        desk.studio.sql(f'ALTER TABLE asset_imports DROP CONSTRAINT "{check["conname"]}"')
    desk.studio.sql(
        "UPDATE asset_imports SET upload_key = %s WHERE id = %s", asset["storage_key"], import_id
    )
    return import_id, asset["storage_key"]


def assert_kept(desk: ImportDesk, key: str, state: str = "present") -> None:
    read = desk.studio.do(lambda services: services.call(services.store.read, key))
    assert read
    [row] = desk.studio.sql("SELECT state, refcount FROM storage_objects WHERE key = %s", key)
    assert (row["state"], row["refcount"]) == (state, 1)


@pytest.mark.parametrize("state", ["present", "intent"])
def test_what_is_no_upload_is_never_removed_as_one(
    desk: ImportDesk, foreign: tuple[uuid.UUID, str], state: str
) -> None:
    import_id, key = foreign
    desk.studio.sql("UPDATE storage_objects SET state = %s WHERE key = %s", state, key)

    assert desk.studio.do(lambda services: remove_upload(services, key)) is False
    with pytest.raises(StorageError) as refused:
        complete(desk, import_id)
    desk.studio.sql("UPDATE asset_imports SET created_at = now() - interval '25 hours'")
    assert sweep(desk).expired == 1

    assert refused.value.error_code == "upload_key_foreign"
    assert_kept(desk, key, state)


def test_an_import_of_what_is_no_upload_fails_and_removes_nothing(
    desk: ImportDesk, foreign: tuple[uuid.UUID, str]
) -> None:
    import_id, key = foreign
    desk.studio.sql("UPDATE asset_imports SET state = 'pending' WHERE id = %s", import_id)
    desk.studio.sql("UPDATE storage_objects SET state = 'intent' WHERE key = %s", key)

    outcome = only(desk.carry_out())

    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.code) == ("failed", "upload_key_foreign")
    assert_kept(desk, key, "intent")


def test_folders_are_removed_while_the_loop_goes_on(
    desk: ImportDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    removers: list[str] = []
    remove = shutil.rmtree

    def watched(path: Path, *, ignore_errors: bool) -> None:
        removers.append(threading.current_thread().name)
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", watched)
    parent = desk.studio.settings.home_directory / "tmp"
    for _ in range(2):  # before an import, and before a sweep
        left = parent / "import-left"
        left.mkdir(parents=True)
        os.utime(left, (0, 0))
        if removers:
            assert sweep(desk).removed_folders == 1
        else:
            import_id, _ = begin(desk)
            arrive(desk, import_id)
            complete(desk, import_id)
            desk.carry_out()

    assert list(parent.iterdir()) == []
    assert len(removers) == 3
    assert all(name.startswith("scene-pipeline") for name in removers)


def test_a_full_disk_fails_one_upload_and_not_the_others(desk: ImportDesk) -> None:
    large, small = begin(desk)[0], begin(desk)[0]
    arrive(desk, large, HERO + bytes(2 * 2**20))
    arrive(desk, small)
    for import_id in (large, small):
        complete(desk, import_id)

    with files_of_at_most(2**20):
        desk.carry_out()

    states = {row["id"]: (row["state"], row["error_code"]) for row in desk.rows()}
    assert states == {large: ("pending", "cannot_write"), small: ("done", None)}
    desk.carry_out()
    assert {row["state"] for row in desk.rows()} == {"done"}


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """A disk that is full for larger files; the system refuses it just so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    is_told = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, is_told)
