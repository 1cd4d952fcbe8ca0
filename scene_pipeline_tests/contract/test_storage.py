"""One suite over every object store: what the pipeline may rely on, whichever is configured."""

import hashlib
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import ObjectStore, StoredObject
from scene_pipeline.storage.local import LocalStore
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

RACERS = 16


@pytest.fixture(scope="module", params=["memory", "local", "s3-http", "s3-https"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    """One store for all tests, which is how the pipeline uses it; keys are never used twice."""
    directory = tmp_path_factory.mktemp("store")
    if request.param == "memory":
        built: ObjectStore = MemoryStore()
    elif request.param == "local":
        built = LocalStore(directory / "frames", "http://127.0.0.1:8420")
    else:
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        is_https = request.param == "s3-https"
        storage_url = f"s3://{server.bucket}/{request.param}"
        settings = server.settings(
            directory, is_https=is_https, storage_url=storage_url, upload_concurrency=RACERS
        )
        built = build_store(settings)
    yield built
    built.close()


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


def test_an_address_is_stable_and_tells_keys_apart(store: ObjectStore) -> None:
    one, other = frame(), frame()
    assert store.url(one.key) == store.url(one.key)
    assert store.url(one.key).endswith(one.key)
    assert store.url(one.key) != store.url(other.key)
    assert "?" not in store.url(one.key)


def test_the_description_names_the_place_and_no_secret(store: ObjectStore) -> None:
    assert store.description
    assert "scenesecret123" not in store.description
    assert "scenekey" not in store.description
