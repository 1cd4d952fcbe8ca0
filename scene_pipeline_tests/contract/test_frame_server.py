"""The frame server over a real socket: types, validators, ranges, safety, start and stop."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scene_pipeline.api.server import bind_address, listen, running_instance
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.local import LocalStore
from scene_pipeline_tests.standins.media_server import free_port, serving

DATA = bytes(range(256)) * 400
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"projects/p/scenes/scene_1_20250102T030405Z_{SHA256[:16]}.png"
IMMUTABLE = "public, max-age=31536000, immutable"


def settings(home: Path, port: int, **overrides: object) -> Settings:
    values: dict[str, object] = {
        "home": home,
        "public_url": f"http://127.0.0.1:{port}",
        "storage_url": None,
        "s3_bucket": None,
    }
    return load_settings(**(values | overrides))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def store(home: Path) -> LocalStore:
    built = LocalStore(home / "frames", "http://127.0.0.1:8420")
    put(built, KEY, DATA, "image/png")
    return built


@pytest.fixture(scope="module")
def served(home: Path, store: LocalStore) -> Iterator[Settings]:
    assert store.head(KEY)
    given = settings(home, free_port())
    with serving(given):
        yield given


@pytest.fixture(scope="module")
def http(served: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.public_url, trust_env=False, timeout=10) as client:
        yield client


def put(store: LocalStore, key: str, data: bytes, content_type: str) -> None:
    store.put(key, data, content_type=content_type, sha256=hashlib.sha256(data).hexdigest())


def frame(http: httpx.Client, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.get(f"/frames/{KEY}", headers=named)


def test_a_frame_comes_whole_with_its_type_and_may_be_kept_for_ever(http: httpx.Client) -> None:
    answer = frame(http)
    assert answer.status_code == 200
    assert answer.content == DATA
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["cache-control"] == IMMUTABLE
    assert answer.headers["etag"] == f'"{SHA256[:16]}"'
    assert answer.headers["content-disposition"].startswith("inline")
    assert "server" not in answer.headers


def test_the_address_that_the_store_gives_is_the_one_that_answers(
    served: Settings, http: httpx.Client
) -> None:
    address = LocalStore(served.home_directory / "frames", served.public_url).url(KEY)
    assert http.get(address).content == DATA


def test_head_tells_all_and_sends_nothing(http: httpx.Client) -> None:
    answer = http.head(f"/frames/{KEY}")
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["etag"] == f'"{SHA256[:16]}"'


@pytest.mark.parametrize("tag", ['"{0}"', 'W/"{0}"', '"other", "{0}"', "*"])
def test_what_the_reader_has_is_not_sent_again(http: httpx.Client, tag: str) -> None:
    answer = frame(http, if_none_match=tag.format(SHA256[:16]))
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["etag"] == f'"{SHA256[:16]}"'
    assert answer.headers["cache-control"] == IMMUTABLE
    assert frame(http, if_none_match='"other"').status_code == 200


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=102300-", 102_300, 102_399),
        ("bytes=-100", 102_300, 102_399),
        ("bytes=0-999999999", 0, 102_399),
        ("bytes=-999999999", 0, 102_399),
    ],
)
def test_a_range_is_sent_alone(http: httpx.Client, asked: str, first: int, last: int) -> None:
    answer = frame(http, range=asked)
    assert answer.status_code == 206
    assert answer.content == DATA[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"
    assert answer.headers["etag"] == f'"{SHA256[:16]}"'


@pytest.mark.parametrize("asked", ["bytes=102400-", "bytes=102400-102500", "bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_satisfied(http: httpx.Client, asked: str) -> None:
    answer = frame(http, range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "asked", ["bytes=9-1", "bytes=a-b", "bytes", "items=0-1", "bytes=0-1,5-6", "bytes=-", ""]
)
def test_a_range_that_makes_no_sense_or_asks_for_several_is_ignored(
    http: httpx.Client, asked: str
) -> None:
    answer = frame(http, range=asked)
    assert answer.status_code == 200
    assert answer.content == DATA


def test_a_range_of_another_version_is_not_mixed_in(http: httpx.Client) -> None:
    answer = frame(http, range="bytes=0-9", if_range='"another"')
    assert answer.status_code == 200
    assert answer.content == DATA
    same = frame(http, range="bytes=0-9", if_range=f'"{SHA256[:16]}"')
    assert same.status_code == 206


@pytest.mark.parametrize(
    ("name", "content_type", "is_inline"),
    [
        ("a.png", "image/png", True),
        ("a.jpeg", "image/jpeg", True),
        ("a.jpg", "image/jpeg", True),
        ("a.webp", "image/webp", True),
        ("a.json", "application/json", False),
        ("a.html", "text/html", False),
        ("a.svg", "image/svg+xml", False),
        ("a.mp4", "video/mp4", True),
        ("a.xhtml", "application/octet-stream", False),
        ("a", "application/octet-stream", False),
    ],
)
def test_types_come_from_a_closed_list_and_only_pictures_open_in_the_browser(
    http: httpx.Client, store: LocalStore, name: str, content_type: str, is_inline: bool
) -> None:
    key = f"projects/types/{name}"
    put(store, key, b"<script>alert(1)</script>", content_type)
    answer = http.get(f"/frames/{key}")
    assert answer.headers["content-type"].split(";")[0] == content_type
    disposition = "inline" if is_inline else "attachment"
    assert answer.headers["content-disposition"].startswith(disposition)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_what_is_not_named_for_its_content_is_asked_for_again(
    http: httpx.Client, store: LocalStore
) -> None:
    put(store, "projects/p/sheet.png", b"first", "image/png")
    first = http.get("/frames/projects/p/sheet.png")
    assert first.headers["cache-control"] == "public, no-cache"
    again = http.get(
        "/frames/projects/p/sheet.png", headers={"If-None-Match": first.headers["etag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/frames/",
        "/frames/projects",
        "/frames/projects/",
        f"/frames/{KEY}x",
        f"/frames/{KEY}/",
        f"/frames//{KEY}",
        "/frames/../secret.txt",
        "/frames/..%2fsecret.txt",
        "/frames/%2e%2e/secret.txt",
        "/frames/projects/..%2f..%2f..%2fsecret.txt",
        "/frames/..%5csecret.txt",
        "/frames/%2fetc%2fpasswd",
        "/frames//etc/passwd",
        "/frames/.incoming/half.part",
        "/frames/linked.png",
        "/frames/projects/p/x.png%00.png",
        "/frames/" + "a" * 5000,
        "/secret.txt",
    ],
)
def test_nothing_but_objects_is_shown(served: Settings, store: LocalStore, path: str) -> None:
    home = served.home_directory
    (home / "secret.txt").write_text("secret")
    (store.directory / ".incoming" / "half.part").write_text("secret")
    if not (store.directory / "linked.png").is_symlink():
        (store.directory / "linked.png").symlink_to(home / "secret.txt")
    status, body = raw_get(served, path)
    assert status == 404
    assert b"secret" not in body


def raw_get(served: Settings, path: str) -> tuple[int, bytes]:
    """Send a path as it stands; clients of the library tidy it up first."""
    with socket.create_connection(bind_address(served), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split()[1]), answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed_from_outside(
    http: httpx.Client, store: LocalStore, method: str
) -> None:
    answer = http.request(method, f"/frames/{KEY}", content=b"other")
    assert answer.status_code == 405
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert store.read(KEY) == DATA


def test_the_health_address_tells_servers_of_the_same_frames(
    served: Settings, http: httpx.Client, tmp_path: Path
) -> None:
    answer = http.get("/healthz")
    assert answer.json()["status"] == "ok"
    host, port = bind_address(served)
    assert running_instance(host, port) == answer.json()["instance"]
    with pytest.raises(ConfigurationError) as raised:
        listen(served, host, port)
    assert raised.value.error_code == "already_serving"
    with pytest.raises(ConfigurationError) as raised:
        listen(settings(tmp_path, port), host, port)
    assert raised.value.error_code == "port_taken"
    assert "SCENE_PIPELINE_PUBLIC_URL" in raised.value.next_action


def test_a_port_taken_by_a_stranger_is_told(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(ConfigurationError) as raised:
            listen(settings(tmp_path, port), "127.0.0.1", port)
    assert raised.value.error_code == "port_taken"


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        listen(settings(tmp_path, 8420), "192.0.2.1", 8420)
    assert raised.value.error_code == "address_unusable"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_serves_and_stops_cleanly_when_asked(
    tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    put(LocalStore(tmp_path / "frames", "http://x"), KEY, DATA, "image/png")
    process = start_server(tmp_path, port)
    try:
        wait_until_serving(process, port)
        kept = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        assert kept.get(f"/frames/{KEY}").content == DATA
        process.send_signal(number)
        _, complaints = process.communicate(timeout=15)
        kept.close()
    finally:
        process.kill()
        process.wait(10)
    assert (process.returncode, complaints) == (0, "")


def test_a_second_process_ends_with_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        process = start_server(tmp_path, stranger.getsockname()[1])
        _, complaints = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "is taken by another program" in complaints
    assert complaints.count("\n") == 1


def start_server(home: Path, port: int) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "SCENE_PIPELINE_HOME": str(home),
        "SCENE_PIPELINE_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "scene_pipeline.api.server"],
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_serving(process: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + 30
    while running_instance("127.0.0.1", port) is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the server did not start in time"
        time.sleep(0.05)
