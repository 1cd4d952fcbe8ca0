"""The library over HTTP: who is let in, what is refused, and a database that is not there."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from scene_pipeline_tests.open_library import NOBODY, TOKEN, OpenLibrary, opened, refused
from scene_pipeline_tests.standins.hostile_http import HostileServer
from scene_pipeline_tests.standins.media_server import free_port
from scene_pipeline_tests.standins.postgres import PostgresServer
from scene_pipeline_tests.waiting import wait_until

NO_IMPORT = "00000000-0000-0000-0000-000000000000"
ROUTES = [
    ("GET", "/assets"),
    ("POST", "/assets"),
    ("POST", "/assets/from-url"),
    ("GET", f"/assets/{NOBODY}"),
    ("PATCH", f"/assets/{NOBODY}"),
    ("DELETE", f"/assets/{NOBODY}"),
    ("GET", f"/assets/{NOBODY}/data"),
    ("GET", f"/assets/{NOBODY}/url"),
    ("POST", "/urls"),
    ("POST", "/uploads"),
    ("POST", f"/uploads/{NO_IMPORT}/complete"),
    ("GET", f"/imports/{NO_IMPORT}"),
    ("GET", f"/imports/{NO_IMPORT}/events"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer another token...."},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer \xff"},
    ],
)
def test_nothing_is_answered_without_the_token(
    shared_library: OpenLibrary, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with httpx.Client(headers=raw, trust_env=False) as stranger:
        for method, path in ROUTES:
            answer = stranger.request(method, shared_library.base + path)
            refused(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


def test_nothing_is_open_where_no_token_is_set(library_site: HostileServer, tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    with opened(library_site, url, tmp_path, api_token=None) as library:
        for method, path in ROUTES:
            answer = library.http.request(method, path)
            refused(answer, 404, "api_closed")
            assert "SCENE_PIPELINE_API_TOKEN" in answer.json()["message"]


def test_without_a_database_it_says_so_and_frames_are_served(
    library_site: HostileServer, tmp_path: Path
) -> None:
    url = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/none"
    with opened(library_site, url, tmp_path) as library:
        for _ in range(2):
            answer = library.http.get("/assets")
            refused(answer, 503, "database_unavailable")
            assert "retry-after" in answer.headers
            assert "secret" not in answer.text
            assert "127.0.0.1" not in answer.text
        assert httpx.get(f"{library.settings.public_url}/healthz").status_code == 200
        assert httpx.get(f"{library.settings.public_url}/frames/a.png").status_code == 404


def test_a_database_that_goes_away_and_comes_back(
    library_site: HostileServer, postgres_server: PostgresServer, database_url: str, tmp_path: Path
) -> None:
    with opened(library_site, database_url, tmp_path) as library:
        assert library.http.get("/assets").status_code == 200
        postgres_server.connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (urlsplit(database_url).path[1:],),
        )
        answers = [library.http.get("/assets") for _ in range(2)]
        assert {answer.status_code for answer in answers} <= {200, 503}
        wait_until(lambda: library.http.get("/assets").status_code == 200)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "no_such_path"),
        ("GET", "/assets/", 404, "no_such_path"),
        ("PUT", "/assets", 405, "method_not_allowed"),
        ("GET", "/assets/x", 404, "asset_unknown"),
        ("GET", "/assets/%00", 404, "asset_unknown"),
        ("GET", f"/assets/{NOBODY}", 404, "asset_unknown"),
        ("GET", f"/assets/frm_{'0' * 32}/data", 404, "asset_unknown"),
        ("DELETE", f"/assets/{NOBODY}", 404, "asset_unknown"),
        ("DELETE", f"/assets/{NOBODY}?force=perhaps", 400, "field_invalid"),
        ("GET", f"/assets/{NOBODY}/url?mode=sideways", 400, "field_invalid"),
        ("GET", f"/assets/{NOBODY}/url?form=poster", 400, "field_invalid"),
        ("GET", f"/assets/{NOBODY}/url?expires_seconds=9999999", 400, "field_invalid"),
        ("GET", "/imports/x", 404, "import_unknown"),
        ("GET", f"/imports/{NO_IMPORT}", 404, "import_unknown"),
        ("GET", f"/imports/{NO_IMPORT}/events", 404, "import_unknown"),
        ("POST", f"/uploads/{NO_IMPORT}/complete", 404, "upload_unknown"),
        ("POST", f"/uploads/{NO_IMPORT}/complete?wait=31", 400, "field_invalid"),
        ("GET", "/assets?colour=red", 400, "field_unknown"),
        ("GET", "/assets?kind=frame&kind=image", 400, "field_invalid"),
        ("GET", "/assets?kind=hat", 400, "field_invalid"),
        ("GET", "/assets?text=%00", 400, "field_invalid"),
        ("GET", "/assets?limit=0", 400, "field_invalid"),
        ("GET", "/assets?seed=-1", 400, "field_invalid"),
        ("GET", "/assets?after=yesterday", 400, "field_invalid"),
        ("GET", "/assets?after=2026-01-31", 400, "field_invalid"),
        ("GET", "/assets?cursor=x", 400, "cursor_invalid"),
        ("GET", "/assets?project=none", 404, "project_unknown"),
    ],
)
def test_what_cannot_be_asked_is_told(
    shared_library: OpenLibrary, method: str, path: str, status: int, code: str
) -> None:
    refused(shared_library.http.request(method, path), status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "body_invalid"),
        (b"{", 400, "body_invalid"),
        (b"[]", 400, "body_invalid"),
        (b'{"url": "\\u0000"}', 400, "body_invalid"),
        (b'{"url": NaN}', 400, "body_invalid"),
        (b"[" * 1000, 400, "body_invalid"),
        (b'{"a": "' + b"x" * (128 * 1024) + b'"}', 413, "body_too_large"),
        (b"{}", 400, "field_invalid"),
        (b'{"url": 7, "kind": "image"}', 400, "field_invalid"),
        (b'{"url": "https://x.example/", "kind": "hat"}', 400, "field_invalid"),
        (b'{"url": "https://x.example/"}', 400, "field_invalid"),
        (b'{"url": "https://x.example/", "kind": "image"}', 422, "blocked_host"),
        (b'{"url": "file:///etc/passwd", "kind": "image"}', 422, "blocked_scheme"),
        (b'{"url": "https://169.254.169.254/", "kind": "image"}', 422, "blocked_host"),
        (b'{"url": "https://x.example/", "kind": "image", "hat": 1}', 400, "field_unknown"),
    ],
)
def test_bodies_that_cannot_be_used_are_refused(
    shared_library: OpenLibrary, body: bytes, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    refused(
        shared_library.http.post("/assets/from-url", content=body, headers=headers), status, code
    )
    assert shared_library.desk.rows() == []


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"tags": ["x" * 65]}, 400, "tag_invalid"),
        ({"tags": "hero"}, 400, "field_invalid"),
        ({"name": "\t"}, 400, "name_invalid"),
        ({"metadata": []}, 400, "field_invalid"),
        ({"metadata": {"a": "x" * 70_000}}, 400, "metadata_invalid"),
        ({"project": "none"}, 404, "project_unknown"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    shared_library: OpenLibrary, said: dict[str, Any], status: int, code: str
) -> None:
    server = shared_library.desk.server
    assert server is not None
    body = {"url": server.url("/hero.png"), "kind": "image", **said}
    refused(shared_library.http.post("/assets/from-url", json=body), status, code)


def test_json_is_asked_for(shared_library: OpenLibrary) -> None:
    answer = shared_library.http.post(
        "/urls", content=b"{}", headers={"Content-Type": "text/plain"}
    )
    refused(answer, 415, "content_type_unsupported")
