"""What a person who has only Dagster's UI open can answer about the example film (docs/ui.md)."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as TimedOut

import scene_pipeline
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.dagster_ui import CHROMIUM, dagster_window
from scene_pipeline_tests.end_to_end.edited_film import (
    INVALID,
    KEY,
    MADE_TWICE,
    MODEL,
    REJECTED,
    STALE,
    edited_film,
)
from scene_pipeline_tests.end_to_end.screenshots import SHOTS, of_partition

SENSOR_SECONDS = 240.0
"""Until a sensor and the run that it launches have told something, on a busy machine."""
PAGE_MARGIN = 43
"""Pixels at the right, where the UI cuts off what is wider; a scroll bar takes some of them."""
DOCS = Path(scene_pipeline.__file__).parents[1] / "docs"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"
)


@pytest.fixture(scope="module")
def cli() -> Iterator[CommandLine]:
    with edited_film() as film:
        yield film


@pytest.fixture
def page(cli: CommandLine) -> Iterator[Page]:
    with dagster_window(cli) as window:
        yield window


def shown(page: Page, name: str) -> Locator:
    """The value of one line of metadata."""
    label = page.get_by_role("cell", name=name, exact=True)
    return page.get_by_role("row").filter(has=label).first.get_by_role("cell").nth(1)


def test_which_scenes_are_not_ready_and_why(page: Page) -> None:
    page.goto(of_partition("storyboard", KEY))
    table = shown(page, "scenes")
    table.wait_for()

    assert shown(page, "not_ready").inner_text() == "3"
    rows = [row.split("\t") for row in table.inner_text().splitlines() if row.startswith("scene_")]
    assert [row[0] for row in rows[:3]] == [STALE, INVALID, REJECTED]
    words = table.inner_text()
    assert "edited since: prompt" in words
    assert f"scene-pipeline run {KEY} --stale --scene {STALE}" in words
    assert "refused the prompt" in words
    assert "Reword the scene's prompt." in words


def test_what_changed_between_two_versions(page: Page) -> None:
    page.goto(of_partition("scene_image", f"{KEY}/{MADE_TWICE}"))
    shown(page, "prompt_diff").wait_for()

    assert shown(page, "version").inner_text() == "2"
    for picture in ("thumbnail", "previous_thumbnail"):
        assert shown(page, picture).locator("img").evaluate("image => image.naturalWidth > 40")
    assert "scrubbed pine" in shown(page, "prompt_diff").locator("del").first.inner_text()
    assert "an oak table" in shown(page, "prompt_diff").locator("strong").first.inner_text()
    shown(page, "compared").get_by_text("[Show Markdown]").click()
    pictures = page.locator("[role=dialog] img")
    pictures.nth(1).wait_for()
    assert pictures.count() == 2


def test_what_the_film_has_cost(cli: CommandLine, page: Page) -> None:
    spent = cli("status", KEY, "--json").document["spent_usd"]

    page.goto(of_partition("project_report", KEY))
    shown(page, "cost_usd").wait_for()

    assert Decimal(shown(page, "cost_usd").inner_text()) == Decimal("0.325")
    for kind in ("metered", "estimated"):
        assert float(shown(page, f"cost_{kind}_usd").inner_text()) == spent[kind]
    assert MODEL in shown(page, "models").inner_text()


def test_which_frame_goes_to_video(cli: CommandLine, page: Page) -> None:
    page.goto(of_partition("storyboard", KEY))
    link = shown(page, "start_frames_url").get_by_role("link").first
    address = link.get_attribute("href")
    assert address is not None

    listed = json.loads(page.request.get(address).text())
    frames = {scene["scene_id"]: scene for scene in listed["scenes"]}

    current = {
        scene["scene_id"]: scene["url"]
        for scene in cli("status", KEY, "--json").document["scenes"]
        if scene["state"] == "current"
    }
    assert {name for name, frame in frames.items() if frame["is_ready"]} == set(current)
    assert all(frames[name]["url"] == url for name, url in current.items())
    assert frames[REJECTED]["url"] is None
    assert frames[REJECTED]["reason"]


def test_a_check_says_of_every_scene_whether_it_holds(page: Page) -> None:
    page.goto("/assets/scene_start_frame?view=checks")
    page.get_by_text("prompt_unchanged_since", exact=True).first.click()
    page.get_by_text("Partitions", exact=True).last.click()

    for status, number in {"Passed": 9, "Failed": 2, "Missing": 1}.items():
        page.get_by_text(re.compile(rf"^{status}\s*\({number}\)$")).first.wait_for()
    page.get_by_text(f"{KEY}/{STALE}", exact=True).first.click()
    page.get_by_text("Changed since version 1 was made: prompt.").wait_for()


@pytest.mark.parametrize(
    ("asset", "key", "tables"),
    [
        ("storyboard", KEY, ("scenes", "to_video")),
        ("project_report", KEY, ("models", "failure_codes", "scenes")),
        ("scene_image", f"{KEY}/{MADE_TWICE}", ("attempts",)),
    ],
)
def test_tables_are_as_wide_as_the_page(
    page: Page, asset: str, key: str, tables: tuple[str, ...]
) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(of_partition(asset, key))

    for name in tables:
        table = shown(page, name).locator("table")
        table.wait_for()
        box = table.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 1440 - PAGE_MARGIN, name


def test_a_version_that_was_chosen_is_what_the_scene_s_page_shows(
    cli: CommandLine, page: Page
) -> None:
    address = of_partition("scene_image", f"{KEY}/{MADE_TWICE}")
    page.goto(address)
    shown(page, "version").wait_for()
    before = shown(page, "thumbnail").locator("img").get_attribute("src")
    promoted = cli("promote", KEY, MADE_TWICE, "1")
    assert promoted.code == 0, promoted.err

    told = page.get_by_role("cell", name="now", exact=True)
    until = time.monotonic() + SENSOR_SECONDS
    while not told.is_visible():
        assert time.monotonic() < until, "the sensor of stale storyboards has not told it"
        page.goto(address)
        shown(page, "version").wait_for()
        with suppress(TimedOut):
            told.wait_for(timeout=5_000)

    assert "Version 1 is the scene's frame since" in shown(page, "now").inner_text()
    assert shown(page, "version").inner_text() == "1"
    assert "scrubbed pine" in shown(page, "prompt").inner_text()
    assert shown(page, "prompt_diff").inner_text() == "\u2013"
    assert shown(page, "thumbnail").locator("img").get_attribute("src") != before
    assert shown(page, "url").inner_text() in promoted.out
    assert page.get_by_text("Materialized (11)").is_visible(), "its status is as before"
    page.goto("/assets/scene_image?view=checks")
    page.get_by_text("image_decodes", exact=True).first.click()
    page.get_by_text("Partitions", exact=True).last.click()
    page.get_by_text(re.compile(r"^Passed\s*\(11\)$")).first.wait_for()


def test_the_page_of_the_documentation_shows_every_picture_that_is_taken() -> None:
    words = (DOCS / "ui.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\(images/([a-z-]+)\.png\)", words))

    assert {shot.name for shot in SHOTS} <= named
    assert all((DOCS / "images" / f"{name}.png").is_file() for name in named)
