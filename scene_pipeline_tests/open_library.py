"""The library open over HTTP for tests: a real server, a database behind it, and a caller.

Belongs here: bringing things in and carrying imports out. Does not belong here: what is expected of
each route, which the contract tests say.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive

from scene_pipeline.api.errors import error_answer
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.settings import Settings
from scene_pipeline_tests import import_desk
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.import_desk import settings_for, site
from scene_pipeline_tests.standins.hostile_http import HostileServer, Line, answer
from scene_pipeline_tests.standins.media_server import free_port, serving
from scene_pipeline_tests.standins.pictures import scene_file
from scene_pipeline_tests.standins.postgres import PostgresServer

TOKEN = "a token of sixteen"
HERO, VILLAIN = scene_file("PNG", 1), scene_file("JPEG", 2)
NOBODY = f"ast_{'0' * 26}"
"""An id that is no asset's."""
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\nstartxref\n9\n%%EOF\n"


class SlowFile:
    """A file that comes drop by drop until it is told to go on."""

    size_bytes = 4 * 2**20

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, line: Line) -> None:
        begin = answer(length=self.size_bytes, Content_Type="image/png") + bytes(3 * 2**19)
        line.send(begin)
        left = self.size_bytes - 3 * 2**19
        while left > 2**20 and not self.go_on.wait(0.05):
            line.send(bytes(2**13))
            left -= 2**13
        line.send(bytes(left))


class OpenLibrary:
    """A server with the library open, the database behind it, and a caller with the token."""

    def __init__(self, settings: Settings, database_url: str, server: HostileServer) -> None:
        self.studio = Studio(settings, database_url)
        self.settings = settings
        self.desk = import_desk.ImportDesk(self.studio, server)
        self.base = f"{settings.public_url}/api"
        self.http = httpx.Client(
            base_url=self.base,
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=20,
        )

    def add(self, data: bytes = HERO, kind: str = "image/png", **said: Any) -> httpx.Response:
        headers = {"Content-Type": kind}
        return self.http.post("/assets", content=data, headers=headers, params=said)

    def asset(self, data: bytes = HERO, kind: str = "image/png", **said: Any) -> str:
        """Bring a file in, and carry that out; gives the asset's id."""
        import_id = self.add(data, kind, **said).json()["import_id"]
        self.desk.carry_out()
        told = self.http.get(f"/imports/{import_id}").json()
        assert told["state"] == "done", told
        asset_id: str = told["asset_id"]
        return asset_id

    @contextmanager
    def worked_off(self) -> Iterator[None]:
        """Carry out what is asked for meanwhile, as a running `up` does."""
        ends = threading.Event()

        def work() -> None:
            while not ends.wait(0.1):
                if self.open_imports():
                    self.desk.carry_out()

        with ThreadPoolExecutor(1) as worker:
            done = worker.submit(work)
            try:
                yield
            finally:
                ends.set()
            done.result(30)

    def open_imports(self) -> int:
        [row] = self.studio.sql(
            "SELECT count(*) AS n FROM asset_imports WHERE state IN ('pending', 'running')"
        )
        number: int = row["n"]
        return number


@pytest.fixture(scope="module")
def slow_file() -> SlowFile:
    return SlowFile()


@pytest.fixture(scope="module")
def library_site(slow_file: SlowFile) -> Iterator[HostileServer]:
    with site({"/hero.png": HERO, "/notes.png": PDF, "/slow.png": slow_file}) as running:
        yield running


@pytest.fixture(scope="module")
def shared_library(
    library_site: HostileServer,
    postgres_server: PostgresServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OpenLibrary]:
    """One for all that is refused, in which nothing is left by it."""
    name = postgres_server.create(database_template)
    try:
        with opened(
            library_site, postgres_server.url(name), tmp_path_factory.mktemp("home")
        ) as library:
            yield library
    finally:
        postgres_server.drop(name)


@pytest.fixture
def library(
    library_site: HostileServer, database_url: str, tmp_path: Path
) -> Iterator[OpenLibrary]:
    with opened(library_site, database_url, tmp_path) as library:
        yield library


@contextmanager
def opened(
    server: HostileServer, database_url: str, home: Path, **overrides: Any
) -> Iterator[OpenLibrary]:
    given = opening(database_url) | {"asset_max_image_mb": 5} | overrides
    with standing(settings_for(server, home, **given), server) as library:
        yield library


def opening(database_url: str) -> dict[str, Any]:
    """What opens the library of a database."""
    public_url = f"http://127.0.0.1:{free_port()}"
    return {"public_url": public_url, "database_url": database_url, "api_token": TOKEN}


@contextmanager
def standing(settings: Settings, server: HostileServer) -> Iterator[OpenLibrary]:
    with serving(settings):
        library = OpenLibrary(settings, settings.database_url or "", server)
        with library.http:
            yield library


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """The answer is an error as every route tells one."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"code", "message", "next_action"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in answer.text
    assert TOKEN not in answer.text


async def told(_: Request, error: Exception) -> Response:
    assert isinstance(error, ScenePipelineError)
    return error_answer(error)


def asked(
    parts: LibraryServices,
    routes: Sequence[Route],
    scope: dict[str, Any],
    receive: Receive,
    *,
    until: bytes = b"",
) -> bytes:
    """What an application of these routes alone sends, until the end or until some words."""
    sent = bytearray()
    is_over = asyncio.Event()

    async def take() -> Message:
        if until:
            await is_over.wait()
            return {"type": "http.disconnect"}
        return await receive()

    async def send(message: Message) -> None:
        sent.extend(str(message.get("status", "")).encode() + message.get("body", b""))
        if until and until in sent:
            is_over.set()

    async def main() -> None:
        whole = {"type": "http", "query_string": b"", "headers": [], "root_path": "", **scope}
        app = Starlette(routes=routes, exception_handlers={ScenePipelineError: told})
        try:
            await app(whole, take, send)
        finally:
            await parts.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    return bytes(sent)


async def nothing_more() -> Message:
    await asyncio.Event().wait()
    raise AssertionError
