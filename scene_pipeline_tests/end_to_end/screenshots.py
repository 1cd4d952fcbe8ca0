"""The pictures of docs/ui.md, taken of the real thing: `make screenshots`.

    python -m scene_pipeline_tests.end_to_end.screenshots [DIRECTORY]

Makes the example film of `edited_film` in a scratch directory, starts everything, and drives
Dagster's UI in a headless Chromium. Nothing is paid: Fal is its stand-in.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import FloatRect, Page

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.dagster_ui import dagster_window
from scene_pipeline_tests.end_to_end.edited_film import KEY, MADE_TWICE, STALE, edited_film

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTH_PIXELS = 1400
SETTLE_MILLISECONDS = 1500
"""The UI draws once more when its answers have come; nothing in the page says when."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: what it is called, how it is reached, and when it is ready."""

    name: str
    address: str
    awaited: str
    """A text that the page shows when it has its data."""
    height: int
    """Pixels."""
    then: Callable[[Page], None] | None = None
    """What a person does before looking."""
    ends_with: str | None = None
    """The text that is the last on the picture: what follows quotes this machine's paths."""


def of_partition(asset: str, key: str) -> str:
    """The page of one partition of an asset."""
    return f"/assets/{asset}?view=partitions&partition={key.replace('/', '%2F')}"


def _open_markdown(label: str) -> Callable[[Page], None]:
    def click(page: Page) -> None:
        row = page.get_by_role("row").filter(has=page.get_by_text(label, exact=True))
        row.get_by_text("[Show Markdown]").click()
        page.locator("[role=dialog] img").first.wait_for()

    return click


def _scroll_to(label: str) -> Callable[[Page], None]:
    def scroll(page: Page) -> None:
        cell = page.get_by_role("cell", name=label, exact=True)
        cell.first.evaluate("cell => cell.scrollIntoView()")

    return scroll


def _open_partition_of_check(name: str, key: str) -> Callable[[Page], None]:
    def click(page: Page) -> None:
        page.get_by_text(name, exact=True).first.click()
        page.get_by_text("Partitions", exact=True).last.click()
        page.get_by_text(key, exact=True).first.click()
        page.get_by_text("View all historical executions").wait_for()

    return click


SHOTS = (
    Shot("ui-storyboard", of_partition("storyboard", KEY), "next_action", 1180),
    Shot(
        "ui-contact-sheet",
        of_partition("storyboard", KEY),
        "next_action",
        1000,
        _open_markdown("preview"),
    ),
    Shot("ui-to-video", of_partition("storyboard", KEY), "to_video", 700, _scroll_to("to_video")),
    Shot("ui-versions", of_partition("scene_image", f"{KEY}/{MADE_TWICE}"), "prompt_diff", 1250),
    Shot(
        "ui-compared",
        of_partition("scene_image", f"{KEY}/{MADE_TWICE}"),
        "prompt_diff",
        800,
        _open_markdown("compared"),
    ),
    Shot("ui-cost", of_partition("project_report", KEY), "cost_usd", 1180),
    Shot(
        "ui-checks",
        "/assets/scene_start_frame?view=checks",
        "prompt_unchanged_since",
        900,
        _open_partition_of_check("prompt_unchanged_since", f"{KEY}/{STALE}"),
    ),
    Shot("ui-asset", "/assets/scene_image?view=overview", "Columns", 1250),
)


def take_screenshots(directory: Path) -> Iterator[Path]:
    """Take all pictures, one after the other.

    Args:
        directory: Where they go; pictures of the same names are replaced.
    """
    with edited_film() as cli, dagster_window(cli) as page:
        for shot in SHOTS:
            yield _take(page, shot, directory)
        yield _take(page, _failed_run(page), directory)
        yield _take(page, _page_of_the_storyboard(cli), directory)


def _take(page: Page, shot: Shot, directory: Path) -> Path:
    page.set_viewport_size({"width": WIDTH_PIXELS, "height": shot.height})
    page.goto(shot.address)
    page.get_by_text(shot.awaited).first.wait_for()
    if shot.then is not None:
        shot.then(page)
    page.wait_for_timeout(SETTLE_MILLISECONDS)
    place = directory / f"{shot.name}.png"
    page.screenshot(path=place, clip=_part(page, shot))
    return place


def _part(page: Page, shot: Shot) -> FloatRect | None:
    if shot.ends_with is None:
        return None
    last = page.get_by_role("dialog").get_by_text(shot.ends_with, exact=True).bounding_box()
    if last is None:
        message = f"{shot.ends_with!r} is not on the page of {shot.name}."
        raise AssertionError(message)
    height = last["y"] + 1.5 * last["height"]
    return {"x": 0, "y": 0, "width": WIDTH_PIXELS, "height": height}


def _failed_run(page: Page) -> Shot:
    """The run whose scene was refused, by the way that a person takes: the list of runs."""
    page.goto("/runs?q%5B0%5D=status%3AFAILURE")
    link = page.locator("a[href^='/runs/']").first
    link.wait_for()
    address = link.get_attribute("href") or ""
    return Shot("ui-run", address, "unfinished_scenes", 900, _open_failure, "cost_usd")


def _open_failure(page: Page) -> None:
    """The event that names the scenes, among all others of the run."""
    page.get_by_placeholder("Filter…").fill("type:STEP_FAILURE")
    page.keyboard.press("Enter")
    page.get_by_text("RUN_FAILURE").wait_for(state="hidden")
    page.get_by_text("View full message").click()
    page.get_by_role("button", name="Done").wait_for()


def _page_of_the_storyboard(cli: CommandLine) -> Shot:
    page = cli.home / "output" / f"{KEY}.storyboard.html"
    return Shot("storyboard-page", page.as_uri(), STALE, 1100)


def main() -> None:
    """Take the pictures for the documentation, or into a directory that is named."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    directory.mkdir(parents=True, exist_ok=True)
    for place in take_screenshots(directory):
        sys.stdout.write(f"{place}\n")


if __name__ == "__main__":
    main()
