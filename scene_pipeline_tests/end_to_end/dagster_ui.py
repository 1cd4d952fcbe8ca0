"""Dagster's UI in a headless Chromium, and the ways in which a person moves through it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from scene_pipeline_tests.end_to_end.command_line import CommandLine

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MILLISECONDS = 60_000


@contextmanager
def dagster_window(cli: CommandLine) -> Iterator[Page]:
    """Open a browser window; relative addresses are Dagster's."""
    address = f"http://127.0.0.1:{cli.variables['SCENE_PIPELINE_DAGSTER_PORT']}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        window = browser.new_page(base_url=address, viewport={"width": 1400, "height": 900})
        window.set_default_timeout(PATIENCE_MILLISECONDS)
        yield window
        browser.close()


def open_dialog(page: Page) -> None:
    """The dialog that asks which scenes to make."""
    page.goto("/locations/scene_pipeline/asset-groups/frames/lineage")
    page.get_by_role("button", name="Materialize all").first.click()
    page.get_by_text("Select a partition or create one").wait_for()


def choose_project(page: Page, key: str, count: int, picture: Path | None = None) -> None:
    """Choose all scenes of a project: type its key, select all that is left."""
    page.get_by_text("Select a partition or create one").click()
    page.get_by_placeholder("Filter partitions").fill(f"{key}/")
    page.get_by_role("menuitem").filter(has_text=f"Select all ({count})").wait_for()
    if picture is not None:
        page.screenshot(path=picture)
    page.get_by_text(f"Select all ({count})").click()
    page.keyboard.press("Escape")
    page.get_by_text(f"{count} partitions", exact=True).wait_for()


def configure(page: Page, config: str) -> None:
    """Set a config for every run of the backfill."""
    dialog = page.locator("[role=dialog]").first
    dialog.get_by_text("Config", exact=True).click()
    dialog.get_by_text("Add config").click()
    page.locator(".CodeMirror.cm-s-config-editor").last.click()
    page.keyboard.insert_text(config)
    page.get_by_text("No errors").wait_for()
    page.get_by_role("button", name="Save config").click()


def launch(page: Page) -> str:
    """Launch what the dialog holds; return the backfill's id as the UI tells it."""
    page.get_by_role("button", name="Launch backfill").click()
    return created_backfill(page)


def created_backfill(page: Page) -> str:
    """The id of the backfill that the UI says it has created."""
    page.get_by_text("Created backfill").wait_for()
    link = page.locator("a[href*='/runs/b/']").first.get_attribute("href")
    assert link is not None
    return link.rpartition("/")[2].partition("?")[0]


def choose_from_menu(page: Page, backfill_id: str, action: str) -> None:
    """What can be done with a backfill stands in the menu at the corner of its page."""
    page.goto(f"/runs/b/{backfill_id}")
    page.get_by_text("Partition selection").first.wait_for()
    corner = page.get_by_role("button").filter(has=page.get_by_role("img", name="expand_more"))
    corner.last.click()
    page.get_by_role("menuitem").filter(has=page.get_by_text(action, exact=True)).click()
