"""A page as a browser sees it from our own server: shown in place, asking for nothing, harmless."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page as Window
from playwright.sync_api import Route, sync_playwright

from scene_pipeline.api.frames import PAGE_POLICY
from scene_pipeline.pipeline.reporting.page import Page, PageScene, render_page
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.end_to_end.dagster_ui import CHROMIUM, FLAGS
from scene_pipeline_tests.standins.media_server import free_port, serving
from scene_pipeline_tests.standins.pictures import scene_file

PROJECT = "projects/0f8fad5b-d9cb-469f-a165-70867728950e"
HOSTILE = (
    '<img src="http://127.0.0.1:9/a.png"><script>document.title="run"</script>'
    '<style>@import "http://127.0.0.1:9/b.css"</style>'
)


@dataclass(frozen=True)
class Served:
    """Our server over a local store."""

    settings: Settings
    store: ObjectStore

    def put(self, data: bytes, content_type: str, extension: str, folder: str = PROJECT) -> str:
        """Store a file of a report; returns its address."""
        digest = hashlib.sha256(data).hexdigest()
        place = f"{folder}/reports" if folder else "reports"
        key = f"{place}/storyboard_page_20260101T000000Z_{digest[:16]}.{extension}"
        self.store.put(key, data, content_type=content_type, sha256=digest)
        return self.store.url(key)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    address = f"http://127.0.0.1:{free_port()}"
    settings = load_settings(home=tmp_path_factory.mktemp("home"), public_url=address)
    store = build_store(settings)
    with serving(settings, store):
        yield Served(settings, store)


def a_page() -> bytes:
    scenes = [
        PageScene(
            scene_id=f"scene_{number}",
            state="stale" if number % 2 else "current",
            is_ready=number % 2 == 0,
            is_locked=False,
            why="edited since: prompt" if number % 2 else "",
            next_action="scene-pipeline run film --stale" if number % 2 else "",
            prompt=HOSTILE,
            version=1,
            url="https://frames.example/a.png",
            cost_usd=Decimal("0.025"),
            picture=scene_file("JPEG"),
        )
        for number in range(6)
    ]
    return render_page(Page(HOSTILE, "film", {"current": 3, "stale": 3}, scenes=scenes))


@pytest.fixture(scope="module")
def window() -> Iterator[Window]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport={"width": 1200, "height": 900})
        browser.close()


@pytest.mark.parametrize(
    ("content_type", "extension", "is_inline"),
    [
        ("text/html", "html", True),
        ("application/json", "json", False),
        ("text/csv", "csv", False),
        ("application/vnd.apache.parquet", "parquet", False),
    ],
)
@pytest.mark.parametrize("folder", [PROJECT, ""])
def test_files_of_reports_have_their_type_and_run_nothing(
    served: Served, folder: str, content_type: str, extension: str, *, is_inline: bool
) -> None:
    url = served.put(b"a,b\n", content_type, extension, folder)

    answer = httpx.get(url, trust_env=False)

    assert answer.status_code == 200
    headers = answer.headers
    assert headers["content-type"].split(";")[0] == content_type
    assert headers["content-disposition"].startswith("inline" if is_inline else "attachment")
    assert headers["x-content-type-options"] == "nosniff"
    expected = PAGE_POLICY if is_inline else "default-src 'none'; sandbox"
    assert headers["content-security-policy"] == expected


def test_only_a_page_of_our_own_is_shown_in_place(served: Served) -> None:
    data = b"<p>Anybody's.</p>"
    digest = hashlib.sha256(data).hexdigest()
    key = f"assets/documents/asset_20260101T000000Z_{digest[:16]}.html"
    served.store.put(key, data, content_type="text/html", sha256=digest)

    answer = httpx.get(served.store.url(key), trust_env=False)

    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("is_a_file", [False, True])
def test_a_browser_shows_a_page_without_asking_for_anything_else(
    served: Served, window: Window, tmp_path: Path, *, is_a_file: bool
) -> None:
    data = a_page()
    url = served.put(data, "text/html", "html")
    if is_a_file:  # opened from a folder: the page's own policy is all there is
        (tmp_path / "page.html").write_bytes(data)
        url = (tmp_path / "page.html").as_uri()
    asked: list[str] = []

    def decide(route: Route) -> None:
        asked.append(route.request.url)
        if route.request.url == url:
            route.continue_()
        else:
            route.abort()

    window.route("**/*", decide)
    window.goto(url)

    assert asked == [url]
    assert HOSTILE in window.title()  # as text; no script wrote another
    images = window.locator("img.frame")
    assert images.count() == 6
    assert images.first.evaluate("image => image.complete && image.naturalWidth") == 320
    assert window.locator(".prompt").first.inner_text() == HOSTILE
    with Image.open(io.BytesIO(window.screenshot())) as shot:
        assert len(shot.convert("RGB").getcolors(1 << 24) or []) > 200
    window.unroute("**/*")
