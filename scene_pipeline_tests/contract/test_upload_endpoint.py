"""Uploads that our own server takes: the rules of a permission, and what bad ones leave behind."""

import secrets
import socket
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive

from scene_pipeline.api.uploads import MAX_UPLOADS, UploadEndpoint
from scene_pipeline.errors import StorageError
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.base import PresignedUpload
from scene_pipeline.storage.local import INCOMING, LocalStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline.storage.served import ServedStore
from scene_pipeline_tests.standins.media_server import free_port, serving
from scene_pipeline_tests.standins.postgres import PostgresServer
from scene_pipeline_tests.waiting import wait_until

LIMIT = 1_000_000
DATA = secrets.token_bytes(LIMIT)


@pytest.fixture(scope="module", params=["local", "database"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedStore]:
    home = tmp_path_factory.mktemp("home")
    public_url = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as opened:
        database_url = None
        if request.param == "database":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            name = server.create(request.getfixturevalue("database_template"))
            opened.callback(server.drop, name)
            database_url = server.url(name)
        settings = load_settings(
            home=home,
            public_url=public_url,
            storage_url="database://" if database_url else None,
        )
        built = build_store(settings, database_url=database_url)
        assert isinstance(built, ServedStore)
        opened.callback(built.close)
        opened.enter_context(serving(settings, built))
        yield built


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


def permitted(store: ServedStore, *, max_bytes: int = LIMIT) -> tuple[str, PresignedUpload]:
    key = f"uploads/{secrets.token_hex(16)}.png"
    return key, store.presign_upload(key, content_type="image/png", max_bytes=max_bytes)


def is_left(store: ServedStore, key: str) -> bool:
    """Whether anything of an upload is there, finished or not."""
    if isinstance(store, LocalStore) and any((store.directory / INCOMING).glob("*.part")):
        return True
    try:
        store.served(key)
    except StorageError as error:
        return error.error_code != "object_missing"
    return True


def test_what_was_permitted_arrives(store: ServedStore, http: httpx.Client) -> None:
    key, upload = permitted(store)
    answer = http.put(upload.url, content=DATA, headers=upload.headers)
    assert answer.status_code == 201
    assert b"".join(store.part(key, 0, LIMIT)) == DATA


def test_an_upload_of_unannounced_length_is_counted(store: ServedStore, http: httpx.Client) -> None:
    key, upload = permitted(store)
    pieces = (DATA[:LIMIT], b"x")
    answer = http.put(upload.url, content=iter(pieces[:1]), headers=upload.headers)
    assert answer.status_code == 201
    assert store.served(key).size_bytes == LIMIT
    key, upload = permitted(store)
    answer = http.put(upload.url, content=iter(pieces), headers=upload.headers)
    assert answer.status_code == 413
    assert not is_left(store, key)


def test_an_announced_length_beyond_the_limit_is_refused_before_a_byte_is_sent(
    store: ServedStore,
) -> None:
    key, upload = permitted(store)
    with begun(upload, content_length=LIMIT + 1) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert not is_left(store, key)


def begun(upload: PresignedUpload, *, content_length: int) -> socket.socket:
    """A connection on which the head of an upload has been sent."""
    parts = urlsplit(upload.url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
    connection.sendall(
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Content-Length: {content_length}\r\n\r\n".encode()
    )
    return connection


def test_an_upload_that_is_cut_leaves_nothing_and_may_be_begun_again(
    store: ServedStore, http: httpx.Client
) -> None:
    key, upload = permitted(store)
    with begun(upload, content_length=LIMIT) as connection:
        connection.sendall(DATA[: LIMIT // 2])
        if isinstance(store, LocalStore):
            wait_until(lambda: is_left(store, key))
    wait_until(lambda: not is_left(store, key))
    answer = http.put(upload.url, content=b"from the beginning", headers=upload.headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("headers", "data", "status"),
    [
        ({"Content-Type": "image/jpeg"}, b"x", 415),
        ({"Content-Type": "image/png; charset=x"}, b"x", 415),
        ({"Content-Type": ""}, b"x", 415),
        ({}, b"", 400),
        ({}, b"x" * (LIMIT + 1), 413),
    ],
)
def test_what_breaks_the_rules_is_refused_and_leaves_nothing(
    store: ServedStore,
    http: httpx.Client,
    headers: dict[str, str],
    data: bytes,
    status: int,
) -> None:
    key, upload = permitted(store)
    answer = http.put(upload.url, content=data, headers={**upload.headers, **headers})
    assert answer.status_code == status
    assert not is_left(store, key)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_bytes=1000000", "max_bytes=1000001"),
        ("max_bytes=1000000", "max_bytes=1000000&max_bytes=9000000"),
        ("image%2Fpng", "text%2Fhtml"),
        ("expires=", "expires=9"),
        ("signature=", "signature=0"),
        ("/uploads/uploads/", "/uploads/projects/"),
        ("/uploads/uploads/", "/uploads/../uploads/"),
    ],
)
def test_an_altered_address_takes_nothing(
    store: ServedStore, http: httpx.Client, old: str, new: str
) -> None:
    key, upload = permitted(store)
    url = upload.url.replace(old, new, 1)
    assert url != upload.url
    answer = http.put(url, content=b"x", headers=upload.headers)
    assert answer.status_code in {403, 404}
    assert not is_left(store, key)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_an_upload_address_is_for_putting_alone(
    store: ServedStore, http: httpx.Client, method: str
) -> None:
    _, upload = permitted(store)
    answer = http.request(method, upload.url, headers=upload.headers)
    assert answer.status_code == 405
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_of_uploads_for_one_key_exactly_one_is_taken(store: ServedStore) -> None:
    key, upload = permitted(store)
    together = Barrier(8)

    def send(number: int) -> int:
        together.wait(timeout=30)
        data = bytes([number]) * 1000
        return httpx.put(upload.url, content=data, headers=upload.headers, timeout=20).status_code

    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(send, range(8)))
    assert sorted(answers) == [201] + [409] * 7
    assert b"".join(store.part(key, 0, 1000)) == bytes([answers.index(201)]) * 1000
    # The same bytes again are an upload too many as well.
    again = bytes([answers.index(201)]) * 1000
    assert httpx.put(upload.url, content=again, headers=upload.headers).status_code == 409
    assert not isinstance(store, LocalStore) or not list(
        (store.directory / INCOMING).glob("*.part")
    )


@pytest.fixture
def files(tmp_path: Path) -> LocalStore:
    built = build_store(load_settings(home=tmp_path, public_url="http://127.0.0.1:8420"))
    assert isinstance(built, LocalStore)
    return built


def request_of(key: str, upload: PresignedUpload, receive: Receive) -> Request:
    """An upload as the endpoint is given it."""
    scope = {
        "type": "http",
        "method": "PUT",
        "path_params": {"key": key},
        "query_string": urlsplit(upload.url).query.encode(),
        "headers": [(b"content-type", b"image/png")],
    }
    return Request(scope, receive)


async def sent_and_silent(sent: list[bytes]) -> Message:
    if sent:
        return {"type": "http.request", "body": sent.pop(), "more_body": True}
    await anyio.sleep_forever()
    raise AssertionError


def test_an_upload_that_falls_silent_is_given_up(files: LocalStore) -> None:
    endpoint = UploadEndpoint(files, idle_seconds=0.1)
    key, upload = permitted(files)
    sent = [b"half a picture"]

    async def silent() -> int:
        answer = await endpoint(request_of(key, upload, lambda: sent_and_silent(sent)))
        return answer.status_code

    assert anyio.run(silent) == 408
    assert not is_left(files, key)


def test_an_upload_that_drips_is_given_up_too(files: LocalStore) -> None:
    endpoint = UploadEndpoint(files, idle_seconds=10, total_seconds=0.2)
    key, upload = permitted(files)

    async def drip() -> Message:
        await anyio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def dripping() -> int:
        return (await endpoint(request_of(key, upload, drip))).status_code

    assert anyio.run(dripping) == 408
    assert not is_left(files, key)


def test_uploads_at_once_are_bounded_and_a_place_is_given_back(files: LocalStore) -> None:
    endpoint = UploadEndpoint(files, idle_seconds=0.3)

    async def send() -> int:
        key, upload = permitted(files)
        sent = [b"half"]
        answer = await endpoint(request_of(key, upload, lambda: sent_and_silent(sent)))
        return answer.status_code

    async def many() -> list[int]:
        answers: list[int] = []

        async def one() -> None:
            answers.append(await send())

        async with anyio.create_task_group() as group:
            for _ in range(MAX_UPLOADS + 2):
                group.start_soon(one)
        return answers

    assert sorted(anyio.run(many)) == [408] * MAX_UPLOADS + [503] * 2
    assert anyio.run(send) == 408
    assert not list((files.directory / INCOMING).glob("*.part"))


def test_an_upload_is_never_held_in_memory(files: LocalStore) -> None:
    endpoint = UploadEndpoint(files)
    key, upload = permitted(files, max_bytes=2**30)
    piece, count = secrets.token_bytes(2**18), 128
    pieces = iter([True] * (count - 1) + [False])

    async def receive() -> Message:
        return {"type": "http.request", "body": piece, "more_body": next(pieces)}

    async def whole() -> int:
        return (await endpoint(request_of(key, upload, receive))).status_code

    tracemalloc.start()
    try:
        assert anyio.run(whole) == 201
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert files.served(key).size_bytes == count * len(piece)
    assert peak < 8 * len(piece)
