"""The gateway, and addresses of a private store: redirects, signatures, and who is shown what."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.diagnosis import diagnose_storage
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.standins.media_server import free_port, serving
from scene_pipeline_tests.standins.postgres import PostgresServer
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"projects/p/scenes/scene_1_20250102T030405Z_{SHA256[:16]}.png"
UNLOOKED_AT = "uploads/00000000-0000-0000-0000-000000000000.png"


def put(store: ObjectStore, key: str) -> None:
    store.put(key, DATA, content_type="image/png", sha256=SHA256)


class Place:
    """A private store behind our server, and a client that knows nothing but addresses."""

    def __init__(self, settings: Settings, opened: ExitStack, database_url: str | None) -> None:
        self.settings = settings
        self.store = build_store(settings, database_url=database_url)
        opened.callback(self.store.close)
        opened.enter_context(serving(settings, self.store))
        self.http = opened.enter_context(
            httpx.Client(base_url=settings.public_url, trust_env=False, timeout=10)
        )
        for key in (KEY, UNLOOKED_AT, "doctor/probe.png"):
            put(self.store, key)

    def signed(self, key: str = KEY) -> str:
        return self.store.url(key, "signed")


@pytest.fixture(scope="module", params=["local", "database", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    url = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as opened:
        database_url = None
        if request.param == "s3":
            weed: SeaweedFS = request.getfixturevalue("seaweedfs")
            settings = weed.settings(
                home,
                storage_url=f"s3://{weed.bucket}/gateway",
                public_url=url,
                url_mode="gateway",
            )
        elif request.param == "database":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            name = server.create(request.getfixturevalue("database_template"))
            opened.callback(server.drop, name)
            database_url = server.url(name)
            settings = load_settings(
                home=home, storage_url="database://", public_url=url, url_mode="gateway"
            )
        else:
            settings = load_settings(home=home, public_url=url, url_mode="gateway")
        yield Place(settings, opened, database_url)


def test_the_permanent_address_is_stable_and_leads_to_the_object(place: Place) -> None:
    address = place.store.url(KEY)
    assert address == f"{place.settings.public_url}/media/{KEY}"
    redirect = place.http.get(address)
    assert redirect.status_code == 302
    assert redirect.headers["cache-control"] == "private, max-age=300"
    assert "ignature=" in redirect.headers["location"]
    answer = place.http.get(address, follow_redirects=True)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-type"] == "image/png"
    part = place.http.get(address, follow_redirects=True, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, DATA[5:10])


def test_head_tells_what_get_would(place: Place) -> None:
    answer = place.http.head(place.store.url(KEY), follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["content-type"] == "image/png"
    absent = place.http.head(f"/media/{KEY}x", follow_redirects=True)
    assert absent.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/media/",
        f"/media/{UNLOOKED_AT}",
        "/media/doctor/probe.png",
        "/media/.incoming/x.part",
        "/media/projects",
        f"/media/projects/../{UNLOOKED_AT}",
        f"/media/projects/..%2f{UNLOOKED_AT}",
        "/media/projects/%2e%2e/doctor/probe.png",
        f"/media//{KEY}",
        "/media/projects//x.png",
        "/media/projects/a%20b.png",
        "/media/projects/x.png%0d%0aX-Evil:1",
        "/media/projects/x.png%00",
        "/media/https://example.com/x.png",
        "/media/projects/" + "a" * 5000,
    ],
)
def test_the_gateway_has_addresses_for_nothing_else(place: Place, path: str) -> None:
    status, answer = raw_get(place.settings, path)
    assert status == 404
    assert b"ocation:" not in answer
    assert DATA not in answer


def raw_get(settings: Settings, path: str) -> tuple[int, bytes]:
    """Send a path as it stands; clients of the library tidy it up first."""
    address = urlsplit(settings.public_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split()[1]), answer


def test_without_a_signature_a_private_object_is_shown_to_nobody(place: Place) -> None:
    for url in (place.store.url(KEY, "public"), place.signed().partition("?")[0]):
        assert place.http.get(url).status_code == 403


@pytest.mark.parametrize("place", ["local", "database"], indirect=True)
def test_a_signed_address_answers_as_the_frame_server_always_did(place: Place) -> None:
    signed = place.signed()
    head = place.http.head(signed)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(DATA))
    whole = place.http.get(signed)
    assert whole.content == DATA
    assert whole.headers["etag"] == f'"{SHA256[:16]}"' == head.headers["etag"]
    assert whole.headers["cache-control"] == "private, no-cache"
    assert whole.headers["x-content-type-options"] == "nosniff"
    known = place.http.get(signed, headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    end = place.http.get(signed, headers={"Range": "bytes=-10"})
    assert (end.status_code, end.content) == (206, DATA[-10:])
    assert end.headers["content-range"] == f"bytes {len(DATA) - 10}-{len(DATA) - 1}/{len(DATA)}"
    assert place.http.get(signed, headers={"Range": f"bytes={len(DATA)}-"}).status_code == 416
    assert place.http.get(place.signed(f"{KEY}x")).status_code == 404


@pytest.mark.parametrize("place", ["local", "database"], indirect=True)
def test_an_upload_that_nobody_looked_at_is_shown_to_the_holder_of_an_address_alone(
    place: Place,
) -> None:
    assert place.http.get(f"/frames/{UNLOOKED_AT}").status_code == 403
    assert place.http.get(place.signed(UNLOOKED_AT)).content == DATA


def test_doctor_takes_the_closed_door_of_a_private_store_for_no_fault(place: Place) -> None:
    found = {finding.name: finding for finding in diagnose_storage(place.store, place.settings)}
    address = found["storage public address"]
    assert address.is_ok
    assert "redirect" in address.detail


def test_in_public_mode_too_an_upload_is_shown_to_nobody(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, public_url=f"http://127.0.0.1:{free_port()}")
    store = build_store(settings)
    put(store, UNLOOKED_AT)
    put(store, KEY)
    with serving(settings), httpx.Client(base_url=settings.public_url, trust_env=False) as http:
        assert http.get(f"/frames/{UNLOOKED_AT}").status_code == 403
        assert http.get(f"/media/{UNLOOKED_AT}").status_code == 404
        # Both addresses of a frame work, so that a change of the mode breaks no document.
        assert http.get(f"/frames/{KEY}").content == DATA
        assert http.get(f"/media/{KEY}", follow_redirects=True).content == DATA


def test_a_redirect_asks_the_store_for_nothing(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = load_settings(
            home=tmp_path,
            public_url=f"http://127.0.0.1:{free_port()}",
            url_mode="gateway",
            s3_bucket="frames",
            s3_region="eu-west-1",
            s3_endpoint_url=f"http://127.0.0.1:{nobody.getsockname()[1]}",
            s3_access_key_id="key",
            s3_secret_access_key="secret",
        )
        store = build_store(settings)
        with serving(settings, store), httpx.Client(trust_env=False, timeout=30) as http:
            answers = [http.get(store.url(KEY)).status_code for _ in range(100)]
            assert answers == [302] * 100
        store.close()


def test_a_store_without_addresses_has_no_gateway_either(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path, public_url=f"http://127.0.0.1:{free_port()}", storage_url="memory://"
    )
    store = MemoryStore()
    put(store, KEY)
    with serving(settings, store), httpx.Client(base_url=settings.public_url) as http:
        assert http.get(f"/media/{KEY}").status_code == 404
        assert http.get(f"/frames/{KEY}").status_code == 404
        assert http.get("/healthz").status_code == 200
