"""Films whose scenes name pictures, and a server of pictures, for tests of references.

Belongs here: documents, pictures and questions. Does not belong here: the pipeline (`films`).
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scene_pipeline.pipeline.library.adding import AssetDetails, add_file
from scene_pipeline.pipeline.planning.outlook import ProjectOutlook, look_ahead
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.standins.pictures import scene_file
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider

HERO, PLACE, MOOD = (scene_file("PNG", seed=number) for number in (1, 2, 3))
OTHER_HERO = scene_file("PNG", seed=4)


class PictureSite:
    """A server of pictures whose files are exchanged, lost and found; it counts what is asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.is_down = False
        self.asked: list[tuple[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(is_whole=False)

            def do_GET(self) -> None:
                self._answer(is_whole=True)

            def _answer(self, *, is_whole: bool) -> None:
                site.asked.append((self.command, self.path))
                data = site.files.get(self.path)
                if site.is_down or data is None:
                    self.send_error(503 if site.is_down else 404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:16]}"')
                self.end_headers()
                if is_whole:
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def put(self, path: str, data: bytes) -> str:
        self.files[path] = data
        return f"http://{self.host}{path}"

    def count(self, method: str) -> int:
        return sum(asked[0] == method for asked in self.asked)


@contextmanager
def picture_site() -> Iterator[PictureSite]:
    """The server, as long as the block lasts."""
    site = PictureSite()
    thread = threading.Thread(target=site.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        thread.join(10)
        site.server.server_close()


def reference_studio(
    database_url: str, home: Path, provider: ScriptedProvider, site: PictureSite, **settings: Any
) -> Studio:
    """A studio whose model takes three pictures, and which asks foreign servers every time."""
    provider.reference_limit = 3
    hosts = f"{provider.site_url.removeprefix('http://')},{site.host}"
    given: dict[str, Any] = {
        "asset_host_allowlist": hosts,
        "trusted_private_hosts": hosts,
        "reference_check_seconds": 0,
        # so that what is told before a run knows a model that takes pictures
        "model": "fal-ai/flux-2/edit",
        "allow_unknown_price": True,
    }
    return Studio(provider.settings(home, **(given | settings)), database_url, {"fal": provider})


def film(scenes: Mapping[str, Sequence[str]], **members: Any) -> bytes:
    """A film whose scenes name these pictures; their words are their names."""
    entries = {
        scene_id: {"scene_frame_prompt": f"This is {scene_id}", "references": list(named)}
        for scene_id, named in scenes.items()
    }
    document = {"project": {"key": "film"}, "generation": {"image_size": "64x64"}, **members}
    return json.dumps({**document, "scenes": entries}).encode()


def add(studio: Studio, data: bytes, name: str, *, replace: str | None = None) -> str:
    """A picture into the library; its asset id."""
    folder = studio.settings.home_directory / "given"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)

    async def work(services: Services) -> str:
        details = AssetDetails("image", name, "file")
        added = await add_file(services, path, details, asked_at=datetime.now(UTC), replace=replace)
        return added.asset_id

    return studio.do(work)


def scene_of(request: ImageRequest) -> str:
    return request.prompt.splitlines()[0].removeprefix("This is ")


def sent_bytes(request: ImageRequest) -> list[bytes]:
    return [base64.b64decode(sent.url.partition(",")[2]) for sent in request.references]


def states(studio: Studio) -> dict[str, str]:
    rows = studio.sql("SELECT scene_id, state FROM scene_status ORDER BY position")
    return {row["scene_id"]: row["state"] for row in rows}


def plan(studio: Studio, **options: Any) -> ProjectOutlook:
    async def work(services: Services) -> ProjectOutlook:
        async with services.pool.connection() as conn:
            return await look_ahead(conn, services.settings, services.prices, "film", **options)

    return studio.do(work)


def reasons(studio: Studio, **options: Any) -> dict[str, str]:
    outlook = plan(studio, **options)
    return {one.scene.ref.scene_id: one.scene.decision.reason for one in outlook.scenes}
