"""One suite over every object store: what the pipeline may rely on, whichever is configured."""

import hashlib
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Literal

import httpx
import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore, PresignedUpload, StoredObject, UrlMode
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests import conftest
from scene_pipeline_tests.standins.gcs import running_gcs
from scene_pipeline_tests.standins.media_server import free_port, serving
from scene_pipeline_tests.standins.postgres import PostgresServer
from scene_pipeline_tests.standins.rclone import Rclone
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS
from scene_pipeline_tests.waiting import wait_until

RACERS = 16
LARGE_BYTES = 9 * 1024 * 1024 + 17
"""Above every bound at which a store sends a file in parts."""
PART_BYTES = 1024 * 1024

Capability = Literal[
    "signed addresses",
    "presigned uploads",
    "upload sizes",
    "upload types",
    "upload expiry",
    "uploads are create-only",
]


BUCKET_LACKS: Mapping[Capability, str] = {
    "uploads are create-only": "the form of a presigned upload has no precondition",
}
RCLONE_LACKS: Mapping[Capability, str] = {
    "uploads are create-only": "rclone ignores If-None-Match",
    "upload sizes": "rclone takes no forms, and a presigned PUT is bound to key and type alone",
}


@dataclass(frozen=True, slots=True)
class Backend:
    """A store, what it is reached by, and what it lacks."""

    store: ObjectStore
    fresh: Callable[[], ObjectStore] = MemoryStore
    """Another one of the same settings that has not met its server yet."""
    client: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False))
    lacks: Mapping[Capability, str] = field(default_factory=dict)
    """What the server behind it does not do, each with the reason. Tests then hold what is true
    instead; none of them is left out."""


def memory_backend() -> Backend:
    reason = "nobody reaches the memory of a process"
    return Backend(MemoryStore(), lacks={"signed addresses": reason, "presigned uploads": reason})


def served_backend(settings: Settings, opened: ExitStack, database_url: str | None) -> Backend:
    """A store that our own server shows."""
    store = build_store(settings, database_url=database_url)
    opened.callback(store.close)
    opened.enter_context(serving(settings, store))
    return Backend(store, lambda: build_store(settings, database_url=database_url))


def s3_backend(
    settings: Settings,
    opened: ExitStack,
    lacks: Mapping[Capability, str] = BUCKET_LACKS,
) -> Backend:
    """A bucket, at S3 or at Google."""
    store = build_store(settings)
    opened.callback(store.close)
    return Backend(
        store,
        lambda: build_store(settings),
        httpx.Client(
            trust_env=False, verify=ssl.create_default_context(cafile=settings.ssl_cert_file)
        ),
        lacks,
    )


@pytest.fixture(
    scope="module",
    params=[
        "memory",
        "local",
        "local-gateway",
        "database",
        "s3-http",
        "s3-https",
        "s3-rclone",
        "gcs",
        "gcs-unconditional",
    ],
)
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    """One store for all tests, which is how the pipeline uses it; keys are never used twice."""
    directory = tmp_path_factory.mktemp("store")
    public_url = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as opened:
        if request.param == "memory":
            built = memory_backend()
        elif request.param in {"local", "local-gateway"}:
            mode = "gateway" if request.param == "local-gateway" else None
            settings = load_settings(home=directory, public_url=public_url, url_mode=mode)
            built = served_backend(settings, opened, None)
        elif request.param == "database":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            name = server.create(request.getfixturevalue("database_template"))
            opened.callback(server.drop, name)
            settings = load_settings(
                home=directory, public_url=public_url, storage_url="database://"
            )
            built = served_backend(settings, opened, server.url(name))
        elif request.param == "s3-rclone":
            rclone: Rclone = request.getfixturevalue("rclone")
            settings = rclone.settings(directory, upload_concurrency=RACERS)
            built = s3_backend(settings, opened, RCLONE_LACKS)
        elif request.param in {"gcs", "gcs-unconditional"}:
            gcs = opened.enter_context(running_gcs())
            gcs.ignores_preconditions = request.param == "gcs-unconditional"
            built = s3_backend(gcs.settings(directory, upload_concurrency=RACERS), opened)
        else:
            weed: SeaweedFS = request.getfixturevalue("seaweedfs")
            settings = weed.settings(
                directory,
                is_https=request.param == "s3-https",
                storage_url=f"s3://{weed.bucket}/{request.param}",
                upload_concurrency=RACERS,
            )
            built = s3_backend(settings, opened)
        opened.enter_context(built.client)
        yield built


@pytest.fixture
def store(backend: Backend) -> ObjectStore:
    return backend.store


@dataclass(frozen=True, slots=True)
class Frame:
    """An object to store; every test has keys of its own."""

    key: str
    data: bytes
    content_type: str = "image/png"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def put(self, store: ObjectStore) -> StoredObject:
        return store.put(self.key, self.data, content_type=self.content_type, sha256=self.sha256)


def frame(data: bytes = b"a picture", *, key: str | None = None) -> Frame:
    return Frame(key or f"projects/p/scenes/scene_{secrets.token_hex(6)}.png", data)


def test_what_was_put_is_read_back_byte_for_byte(store: ObjectStore) -> None:
    sent = frame(secrets.token_bytes(300_000))
    facts = sent.put(store)
    assert store.read(sent.key) == sent.data
    assert facts == StoredObject(sent.key, 300_000, "image/png", sent.sha256)


def test_head_tells_size_type_and_digest(store: ObjectStore) -> None:
    sent = frame(b"x" * 1234)
    sent.put(store)
    assert store.head(sent.key) == StoredObject(sent.key, 1234, "image/png", sent.sha256)


def test_head_of_nothing_is_none(store: ObjectStore) -> None:
    assert store.head("projects/p/scenes/absent.png") is None
    frame(key=f"projects/p/{secrets.token_hex(4)}/inside.png").put(store)
    assert store.head("projects/p") is None


def test_reading_nothing_says_so(store: ObjectStore) -> None:
    with pytest.raises(StorageError) as raised:
        store.read("projects/p/scenes/absent.png")
    assert raised.value.error_code == "object_missing"
    assert not raised.value.retryable


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    sent = frame(b"")
    sent.put(store)
    assert store.read(sent.key) == b""
    head = store.head(sent.key)
    assert head is not None
    assert head.size_bytes == 0


def test_the_same_bytes_again_are_a_success(store: ObjectStore) -> None:
    sent = frame()
    assert sent.put(store) == sent.put(store)


def test_other_bytes_under_the_same_key_are_refused_and_the_first_stay(store: ObjectStore) -> None:
    first = frame(b"first")
    first.put(store)
    with pytest.raises(StorageError) as raised:
        frame(b"other", key=first.key).put(store)
    assert raised.value.error_code == "object_exists"
    assert not raised.value.retryable
    assert store.read(first.key) == b"first"


def test_of_many_writers_of_one_key_exactly_one_wins(store: ObjectStore) -> None:
    key = frame().key
    together = Barrier(RACERS)

    def race(number: int) -> StorageError | None:
        sent = frame(f"bytes of racer {number}".encode(), key=key)
        together.wait(timeout=30)
        try:
            sent.put(store)
        except StorageError as error:
            return error
        return None

    with ThreadPoolExecutor(RACERS) as racers:
        refusals = list(racers.map(race, range(RACERS)))
    winners = [number for number, refusal in enumerate(refusals) if refusal is None]
    assert len(winners) == 1
    assert {error.error_code for error in refusals if error} == {"object_exists"}
    assert store.read(key) == f"bytes of racer {winners[0]}".encode()


def test_many_writers_of_the_same_bytes_all_succeed(store: ObjectStore) -> None:
    sent = frame(b"the same from everybody")
    with ThreadPoolExecutor(8) as writers:
        facts = list(writers.map(lambda _: sent.put(store), range(8)))
    assert set(facts) == {StoredObject(sent.key, len(sent.data), "image/png", sent.sha256)}


def test_bytes_that_do_not_match_their_digest_are_refused(store: ObjectStore) -> None:
    sent = frame()
    with pytest.raises(StorageError) as raised:
        store.put(sent.key, sent.data, content_type="image/png", sha256="0" * 64)
    assert raised.value.error_code == "checksum_mismatch"
    assert store.head(sent.key) is None


def test_a_type_that_the_key_does_not_stand_for_is_refused(store: ObjectStore) -> None:
    sent = frame(b"<script>")
    with pytest.raises(StorageError) as raised:
        store.put(sent.key, sent.data, content_type="text/html", sha256=sent.sha256)
    assert raised.value.error_code == "content_type_mismatch"
    assert store.head(sent.key) is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../outside.png",
        "projects/../../outside.png",
        "projects/./x.png",
        "projects//x.png",
        "projects/x.png/",
        "projects/.hidden.png",
        ".incoming/x.png",
        "projects/x\x00.png",
        "projects/x.png\n",
        "projects\\x.png",
        "projects/ä.png",
        "projects/a b.png",
        "projects/%2e%2e/x.png",
        "p" * 513,
    ],
)
def test_a_key_that_is_none_of_ours_is_refused_everywhere(store: ObjectStore, key: str) -> None:
    data = b"x"
    digest = hashlib.sha256(data).hexdigest()
    attempts = (
        lambda: store.put(key, data, content_type="image/png", sha256=digest),
        lambda: store.read(key),
        lambda: store.head(key),
        lambda: store.delete(key),
        lambda: store.url(key),
    )
    for attempt in attempts:
        with pytest.raises(StorageError) as raised:
            attempt()
        assert raised.value.error_code == "key_invalid"


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: ObjectStore) -> None:
    sent = frame()
    sent.put(store)
    store.delete(sent.key)
    assert store.head(sent.key) is None
    store.delete(sent.key)
    sent.put(store)
    assert store.read(sent.key) == sent.data


def test_listing_gives_every_object_under_a_prefix_once(store: ObjectStore) -> None:
    folder = f"projects/{secrets.token_hex(4)}"
    keys = [f"{folder}/scenes/scene_{number:02}.png" for number in range(25)]
    for number, key in enumerate(keys):
        frame(b"x" * number, key=key).put(store)
    frame(key=f"{folder}-else/scenes/scene_00.png").put(store)
    found = list(store.list(f"{folder}/"))
    assert [(facts.key, facts.size_bytes) for facts in found] == [
        (key, number) for number, key in enumerate(keys)
    ]
    assert [facts.key for facts in store.list(f"{folder}/scenes/scene_1")] == keys[10:20]
    assert list(store.list(f"{folder}/absent")) == []


def test_a_permanent_address_never_changes_and_carries_no_query(backend: Backend) -> None:
    one, other = frame(), frame()
    address = backend.store.url(one.key)
    assert address.endswith(one.key)
    assert "?" not in address
    assert address != backend.store.url(other.key)
    again = backend.fresh()
    assert again.url(one.key) == address
    again.close()


def test_a_permanent_address_leads_to_the_object(backend: Backend) -> None:
    sent = frame(b"shown to the world")
    sent.put(backend.store)
    address = backend.store.url(sent.key)
    if address.startswith("memory://"):
        assert backend.store.read(address.removeprefix("memory:///")) == sent.data
        return
    answer = backend.client.get(address, follow_redirects=True)
    # A bucket shows nothing to strangers unless its policy says so (test_storage_diagnosis).
    # rclone tells them so with 400.
    assert answer.status_code in {400, 403} or answer.content == sent.data


def test_the_description_names_the_place_and_no_secret(store: ObjectStore) -> None:
    assert store.description
    assert "scenesecret123" not in store.description
    assert "scenekey" not in store.description


def put_file(store: ObjectStore, sent: Frame, directory: Path) -> StoredObject:
    path = directory / "to be stored"
    path.write_bytes(sent.data)
    return store.put_file(sent.key, path, content_type=sent.content_type, sha256=sent.sha256)


@pytest.mark.parametrize("size_bytes", [0, 300_000, LARGE_BYTES])
def test_a_file_is_stored_and_opened_chunk_by_chunk(
    store: ObjectStore, tmp_path: Path, size_bytes: int
) -> None:
    sent = frame(secrets.token_bytes(size_bytes))
    facts = put_file(store, sent, tmp_path)
    assert facts == StoredObject(sent.key, size_bytes, "image/png", sent.sha256)
    assert store.head(sent.key) == facts
    chunks = list(store.open(sent.key))
    assert b"".join(chunks) == sent.data
    assert all(0 < len(chunk) <= PART_BYTES for chunk in chunks)
    assert store.read(sent.key) == sent.data


@pytest.mark.parametrize("size_bytes", [1000, LARGE_BYTES])
def test_a_file_may_be_stored_again_but_no_other_in_its_place(
    store: ObjectStore, tmp_path: Path, size_bytes: int
) -> None:
    first = frame(secrets.token_bytes(size_bytes))
    facts = put_file(store, first, tmp_path)
    assert put_file(store, first, tmp_path) == facts
    with pytest.raises(StorageError) as raised:
        put_file(store, frame(secrets.token_bytes(size_bytes), key=first.key), tmp_path)
    assert raised.value.error_code == "object_exists"
    assert not raised.value.retryable
    head = store.head(first.key)
    assert head is not None
    assert (head.size_bytes, head.sha256) == (size_bytes, first.sha256)


def test_of_many_files_for_one_key_exactly_one_wins(store: ObjectStore, tmp_path: Path) -> None:
    key = frame().key
    together = Barrier(RACERS)

    def race(number: int) -> str | None:
        directory = tmp_path / str(number)
        directory.mkdir()
        sent = frame(f"bytes of racer {number}".encode(), key=key)
        together.wait(timeout=30)
        try:
            put_file(store, sent, directory)
        except StorageError as error:
            return error.error_code
        return None

    with ThreadPoolExecutor(RACERS) as racers:
        refusals = list(racers.map(race, range(RACERS)))
    assert refusals.count(None) == 1
    assert refusals.count("object_exists") == RACERS - 1
    assert store.read(key) == f"bytes of racer {refusals.index(None)}".encode()


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"sha256": "0" * 64}, "checksum_mismatch"),
        ({"content_type": "text/html"}, "content_type_mismatch"),
        ({"path": Path("absent")}, "file_unreadable"),
    ],
)
def test_a_file_that_is_not_what_was_announced_is_refused(
    store: ObjectStore, tmp_path: Path, overrides: dict[str, object], code: str
) -> None:
    sent = frame(secrets.token_bytes(2 * PART_BYTES))
    path = tmp_path / "file"
    path.write_bytes(sent.data)
    given = {"path": path, "content_type": sent.content_type, "sha256": sent.sha256} | overrides
    with pytest.raises(StorageError) as raised:
        store.put_file(sent.key, **given)  # type: ignore[arg-type]  # a table of arguments
    assert raised.value.error_code == code
    assert store.head(sent.key) is None


def test_opening_nothing_says_so_at_the_first_chunk(store: ObjectStore) -> None:
    with pytest.raises(StorageError) as raised:
        next(store.open("projects/p/scenes/absent.png"))
    assert raised.value.error_code == "object_missing"


def test_an_opened_object_may_be_left_early(store: ObjectStore, tmp_path: Path) -> None:
    sent = frame(secrets.token_bytes(LARGE_BYTES))
    put_file(store, sent, tmp_path)
    # More often than any store has connections.
    for _ in range(2 * RACERS):
        chunks = store.open(sent.key)
        assert sent.data.startswith(next(chunks))
        chunks.close()  # type: ignore[attr-defined]  # a generator, in every store
    assert store.head(sent.key) is not None


@pytest.mark.parametrize("key", ["../outside.png", "/etc/passwd", ".incoming/x.png", "a b.png"])
def test_a_key_that_is_none_of_ours_is_refused_for_files_and_addresses(
    store: ObjectStore, tmp_path: Path, key: str
) -> None:
    attempts: tuple[Callable[[], object], ...] = (
        lambda: put_file(store, frame(key=key), tmp_path),
        lambda: next(store.open(key)),
        lambda: store.urls([key]),
        lambda: store.presign_upload(key, content_type="image/png", max_bytes=10),
    )
    for attempt in attempts:
        with pytest.raises(StorageError) as raised:
            attempt()
        assert raised.value.error_code == "key_invalid"


def modes_of(backend: Backend) -> tuple[UrlMode | None, ...]:
    return (None, "public") if "signed addresses" in backend.lacks else (None, "public", "signed")


def test_addresses_in_a_batch_are_those_one_by_one_and_need_no_network(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [frame().key for _ in range(50)]
    store = backend.fresh()
    # Whoever connects now is told off; a store that has not met its server has no connection yet.
    monkeypatch.setattr(conftest._Connections, "is_loopback_allowed", False)
    for mode in modes_of(backend):
        many = store.urls(keys, mode)
        assert list(many) == keys
        one_by_one = {key: store.url(key, mode) for key in keys}
        assert [url.partition("?")[0] for url in many.values()] == [
            url.partition("?")[0] for url in one_by_one.values()
        ]
        assert mode == "signed" or many == one_by_one
    assert store.urls([]) == {}
    store.close()


def test_a_mode_without_an_address_is_refused(backend: Backend) -> None:
    # No base address of a CDN is set for any of these stores.
    modes: tuple[UrlMode, ...] = (
        ("cdn", "gateway", "signed") if "signed addresses" in backend.lacks else ("cdn",)
    )
    for mode in modes:
        with pytest.raises(StorageError) as raised:
            backend.store.url(frame().key, mode)
        assert raised.value.error_code == "url_mode_unsupported"


def test_a_signed_address_shows_this_object_and_no_other(backend: Backend) -> None:
    if "signed addresses" in backend.lacks:
        return  # held by test_a_mode_without_an_address_is_refused
    sent, other = frame(b"for the holder"), frame(b"for nobody")
    sent.put(backend.store)
    other.put(backend.store)
    url = backend.store.url(sent.key, "signed")
    answer = backend.client.get(url)
    assert (answer.status_code, answer.content) == (200, sent.data)
    assert answer.headers["content-type"] == "image/png"
    address, _, query = url.partition("?")
    for altered in (
        url.replace(sent.key, other.key),
        url.replace("xpires=", "xpires=9"),
        f"{address}?{query[:-1]}{'0' if query[-1] != '0' else '1'}",
    ):
        assert altered != url
        assert 400 <= backend.client.get(altered).status_code < 500


def test_an_address_is_signed_for_a_time_that_services_allow(backend: Backend) -> None:
    if "signed addresses" in backend.lacks:
        return  # held by test_a_mode_without_an_address_is_refused
    for seconds in (0, -1, 7 * 24 * 3600 + 1):
        with pytest.raises(StorageError) as raised:
            backend.store.urls([frame().key], "signed", expires_seconds=seconds)
        assert raised.value.error_code == "expiry_invalid"


def permitted(backend: Backend, key: str, *, seconds: int = 60) -> PresignedUpload:
    return backend.store.presign_upload(
        key, content_type="image/png", max_bytes=1000, expires_seconds=seconds
    )


def send(
    backend: Backend,
    upload: PresignedUpload,
    data: bytes,
    *,
    content_type: str = "image/png",
    to: tuple[str, str] = ("", ""),
) -> int:
    """What a browser does with a permission; `to` puts another key in the place of the permitted
    one."""
    url = upload.url.replace(*to) if to[0] else upload.url
    if upload.method == "PUT":
        headers = {**upload.headers, "Content-Type": content_type}
        return backend.client.put(url, content=data, headers=headers).status_code
    fields = {
        name: content_type if name == "Content-Type" else value.replace(*to) if to[0] else value
        for name, value in upload.fields.items()
    }
    file = {"file": ("anything.png", data, content_type)}
    return backend.client.post(url, data=fields, files=file).status_code


def test_a_permitted_upload_arrives_once_whole_and_with_its_type(backend: Backend) -> None:
    key, data = frame().key, secrets.token_bytes(1000)
    if "presigned uploads" in backend.lacks:
        with pytest.raises(StorageError) as raised:
            permitted(backend, key)
        assert raised.value.error_code == "upload_unsupported"
        return
    upload = permitted(backend, key)
    assert upload.max_bytes == 1000
    assert 0 < (upload.expires_at - datetime.now(UTC)).total_seconds() <= 60
    assert backend.store.head(key) is None
    assert send(backend, upload, data) in {200, 201, 204}
    head = backend.store.head(key)
    assert head is not None
    assert (head.size_bytes, head.content_type) == (1000, "image/png")
    assert backend.store.read(key) == data
    again = send(backend, upload, b"other")
    is_create_only = "uploads are create-only" not in backend.lacks
    assert (again == 409) == is_create_only
    assert (backend.store.read(key) == data) == is_create_only


@pytest.mark.parametrize(
    ("capability", "data", "content_type"),
    [
        ("upload sizes", b"x" * 1001, "image/png"),
        ("upload sizes", b"x" * 300_000, "image/png"),
        ("upload sizes", b"", "image/png"),
        ("upload types", b"<html>", "text/html"),
    ],
)
def test_an_upload_beyond_what_was_permitted_is_refused(
    backend: Backend, capability: Capability, data: bytes, content_type: str
) -> None:
    if "presigned uploads" in backend.lacks:
        return  # held by test_a_permitted_upload_arrives_once_whole_and_with_its_type
    key = frame().key
    upload = permitted(backend, key)
    status = send(backend, upload, data, content_type=content_type)
    if capability in backend.lacks:
        assert not upload.is_size_enforced or capability != "upload sizes"
        return
    assert 400 <= status < 500
    assert backend.store.head(key) is None


def test_an_upload_under_another_key_is_refused(backend: Backend) -> None:
    if "presigned uploads" in backend.lacks:
        return  # held by test_a_permitted_upload_arrives_once_whole_and_with_its_type
    key, other = frame().key, frame().key
    assert 400 <= send(backend, permitted(backend, key), b"data", to=(key, other)) < 500
    assert backend.store.head(key) is None
    assert backend.store.head(other) is None


def test_what_was_permitted_for_a_while_ends(backend: Backend) -> None:
    if "presigned uploads" in backend.lacks:
        return  # held by test_a_permitted_upload_arrives_once_whole_and_with_its_type
    sent, key = frame(), frame().key
    sent.put(backend.store)
    upload = permitted(backend, key, seconds=1)
    address = backend.store.urls([sent.key], "signed", expires_seconds=1)[sent.key]
    wait_until(lambda: backend.client.get(address).status_code in {400, 401, 403})
    wait_until(lambda: datetime.now(UTC) > upload.expires_at)
    if "upload expiry" not in backend.lacks:
        assert 400 <= send(backend, upload, b"too late") < 500
        assert backend.store.head(key) is None


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"content_type": "text/html"}, "content_type_mismatch"),
        ({"max_bytes": 0}, "object_too_large"),
        ({"max_bytes": 6 * 1024**3}, "object_too_large"),
        ({"expires_seconds": 0}, "expiry_invalid"),
        ({"expires_seconds": 8 * 24 * 3600}, "expiry_invalid"),
    ],
)
def test_no_upload_is_permitted_that_could_not_be_kept(
    backend: Backend, overrides: dict[str, object], code: str
) -> None:
    given: dict[str, object] = {"content_type": "image/png", "max_bytes": 10, **overrides}
    with pytest.raises(StorageError) as raised:
        backend.store.presign_upload(frame().key, **given)  # type: ignore[arg-type]  # a table
    if "presigned uploads" in backend.lacks and code != "content_type_mismatch":
        code = "upload_unsupported"
    assert raised.value.error_code == code
