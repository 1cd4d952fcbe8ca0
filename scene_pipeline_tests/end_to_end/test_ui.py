"""Dagster's UI in a real browser, on the servers that `up` starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.dagster_ui import CHROMIUM, dagster_window
from scene_pipeline_tests.end_to_end.servers import free_ports, up
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.postgres import passable_directory
from scene_pipeline_tests.waiting import wait_until

SCENES = {f"scene_{number}": f"A lighthouse, view {number}" for number in range(1, 7)}
BACKFILL_SECONDS = 180.0
"""The daemon looks at backfills every half minute; far more than that, for a busy machine."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"
)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A film of six scenes, one of them bad, with everything up."""
    with passable_directory() as directory:
        cli = CommandLine(directory / "home", tmp_path_factory.mktemp("ui"), free_ports())
        made = cli.run(cli.write("film.json", film({**SCENES, "broken": " "}, key="film")))
        assert made.statuses == dict.fromkeys(SCENES, "generated") | {"broken": "invalid"}
        with up(cli):
            yield cli


@pytest.fixture
def page(cli: CommandLine) -> Iterator[Page]:
    """A browser window on Dagster's UI."""
    with dagster_window(cli) as window:
        yield window


def test_the_asset_graph_shows_the_way_of_a_frame(page: Page) -> None:
    page.goto("/locations/scene_pipeline/asset-groups/frames/lineage")

    for asset in ("scene_prompt", "generated_frame", "scene_image", "scene_start_frame"):
        page.get_by_text(asset, exact=True).first.wait_for()
    page.get_by_text("storyboard").first.wait_for()


def test_scenes_are_partitions_with_their_states_and_a_picture(page: Page) -> None:
    page.goto("/assets/scene_image?view=partitions&partition=film%2Fscene_3")

    page.get_by_text("Materialized (6)").wait_for()
    page.get_by_text("Failed (1)").wait_for()
    picture = page.locator("img[src^='data:image']").first
    picture.wait_for()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 40")


def test_the_contact_sheet_opens(page: Page) -> None:
    page.goto("/assets/storyboard?view=partitions&partition=film")

    page.get_by_text("[Show Markdown]").first.click()
    sheet = page.locator("[role=dialog] img[src^='data:image']")
    sheet.wait_for()
    assert sheet.evaluate("image => image.complete && image.naturalWidth > 400")


def test_a_backfill_of_chosen_scenes_gives_each_a_new_version(
    cli: CommandLine, page: Page, tmp_path: Path
) -> None:
    chosen = ["scene_1", "scene_3", "scene_6"]
    page.goto("/locations/scene_pipeline/asset-groups/frames/lineage")
    page.get_by_role("button", name="Materialize all").first.click()
    page.get_by_text("Select a partition or create one").click()
    for scene_id in chosen:
        page.get_by_placeholder("Filter partitions").fill(f"film/{scene_id}")
        page.get_by_role("menuitem").filter(has_text=f"film/{scene_id}").first.click()
    page.keyboard.press("Escape")
    page.get_by_text("3 partitions").first.wait_for()
    page.screenshot(path=tmp_path / "dialog.png")

    page.get_by_role("button", name="Launch backfill").click()
    page.get_by_text("Created backfill").wait_for()

    def versions() -> dict[str, int | None]:
        return {
            scene["scene_id"]: scene["version"]
            for scene in cli("status", "film", "--json").document["scenes"]
        }

    expected = {scene_id: 2 if scene_id in chosen else 1 for scene_id in SCENES}
    wait_until(lambda: versions() == {**expected, "broken": None}, BACKFILL_SECONDS)
