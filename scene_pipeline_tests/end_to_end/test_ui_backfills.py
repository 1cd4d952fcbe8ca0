"""Backfills and automation in Dagster's UI: a real browser, and a provider that counts payments."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

from scene_pipeline.defs.schedules import SCHEDULES
from scene_pipeline.defs.sensors import SENSORS
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.dagster_api import (
    add_partition,
    automation,
    backfill_keys,
    backfill_runs,
    backfill_status,
    execute_run_again,
    run_status,
    try_schedule,
)
from scene_pipeline_tests.end_to_end.dagster_ui import (
    CHROMIUM,
    choose_from_menu,
    choose_project,
    configure,
    created_backfill,
    dagster_window,
    launch,
    open_dialog,
)
from scene_pipeline_tests.end_to_end.servers import free_ports, up
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.postgres import passable_directory
from scene_pipeline_tests.waiting import wait_until

SCENES = [f"scene_{number}" for number in range(1, 7)]
FILMS = {
    "film": {scene_id: f"Film, view of {scene_id}" for scene_id in SCENES},
    "holes": {
        "good": "Holes, a good one",
        "other": "Holes, another one",
        "broken": " ",
    },
    "quick": {"one": "Quick, the first", "two": "Quick, the second"},
}
"""What lies in the installation, by project."""
AT_ONCE = 2
"""How many pictures are asked for at the same time: fewer than the film has scenes."""
FOREVER_SECONDS = 3600.0
PATIENCE_SECONDS = 180.0
"""Dagster looks at backfills every half minute; far more than that, for a busy machine."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"
)


@dataclass
class Stage:
    """Everything that is up, and what can be looked at."""

    cli: CommandLine
    fal: FalStandIn

    def paid_for(self, key: str) -> list[str]:
        """The prompts of a project that were paid for so far, in order."""
        prompts = [submit.prompt for submit in self.fal.meter.accepted]
        return [prompt for prompt in prompts if prompt.startswith(key.title())]

    def versions(self, key: str) -> dict[str, int | None]:
        told = self.cli("status", key, "--json")
        return {scene["scene_id"]: scene["version"] for scene in told.document["scenes"]}

    def let_finish(self) -> None:
        """Let Fal complete what it was asked for, and from now on at once."""
        self.fal.jobs.run_seconds = 0.03
        for job in self.fal.jobs.all():
            job.run_seconds = 0.03


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Several films in one installation with everything up; every payment is counted."""
    directory = tmp_path_factory.mktemp("ui")
    with FalStandIn(directory / "fal") as fal, passable_directory() as place:
        limit = {"SCENE_PIPELINE_GENERATION_CONCURRENCY": str(AT_ONCE)}
        cli = CommandLine(place / "home", directory, {**free_ports(), **fal.environment, **limit})
        for key, prompts in FILMS.items():
            made = cli.run(cli.write(f"{key}.json", film(prompts, key=key)))
            assert made.code == ("broken" in prompts), made.err
        with up(cli):
            yield Stage(cli, fal)


@pytest.fixture
def page(stage: Stage) -> Iterator[Page]:
    """A browser window on Dagster's UI."""
    with dagster_window(stage.cli) as window:
        yield window


def test_all_scenes_of_a_project_are_chosen_by_its_key(
    stage: Stage, page: Page, tmp_path: Path
) -> None:
    open_dialog(page)
    choose_project(page, "quick", len(FILMS["quick"]), tmp_path / "dialog.png")

    backfill_id = launch(page)

    assert backfill_keys(stage.cli, backfill_id) == {"quick/one", "quick/two"}


@pytest.mark.long
def test_a_backfill_cancelled_half_way_and_relaunched_buys_each_scene_once(
    stage: Stage, page: Page
) -> None:
    already_paid, others = len(stage.paid_for("film")), stage.versions("holes")
    stage.fal.jobs.run_seconds = FOREVER_SECONDS
    open_dialog(page)
    choose_project(page, "film", len(SCENES))
    first = launch(page)
    wait_until(lambda: len(stage.paid_for("film")) == already_paid + AT_ONCE, PATIENCE_SECONDS)

    choose_from_menu(page, first, "Cancel backfill")
    page.locator("[role=dialog]").get_by_role("button", name="Cancel backfill").click()
    wait_until(lambda: backfill_status(stage.cli, first) == "CANCELED", PATIENCE_SECONDS)
    stage.let_finish()

    # What was paid is finished by a sensor; nothing else is bought.
    def finished() -> bool:
        return sorted(map(str, stage.versions("film").values())) == ["1"] * 4 + ["2"] * 2

    wait_until(finished, PATIENCE_SECONDS)
    assert len(stage.paid_for("film")) == already_paid + AT_ONCE

    choose_from_menu(page, first, "Re-execute")
    second = created_backfill(page)
    everything = dict.fromkeys(SCENES, 2)
    wait_until(lambda: stage.versions("film") == everything, PATIENCE_SECONDS)
    wait_until(lambda: backfill_status(stage.cli, second) == "COMPLETED_SUCCESS", PATIENCE_SECONDS)
    # The run that was cancelled with its backfill is executed again, too: all of it is there.
    [cancelled] = backfill_runs(stage.cli, first)
    again = execute_run_again(stage.cli, cancelled)
    wait_until(lambda: run_status(stage.cli, again) == "SUCCESS", PATIENCE_SECONDS)

    assert stage.versions("film") == everything
    assert len(stage.paid_for("film")) == already_paid + len(SCENES)
    assert stage.versions("holes") == others
    for backfill_id in (first, second):
        told = stage.cli("status", "--backfill", backfill_id, "--json").document["generations"]
        assert sorted(line["scene_id"] for line in told) == SCENES


@pytest.mark.long
def test_failed_and_missing_scenes_are_chosen_and_given_one_config(
    stage: Stage, page: Page, tmp_path: Path
) -> None:
    stage.let_finish()
    add_partition(stage.cli, "holes/mistyped")
    before = len(stage.paid_for("holes"))
    page.goto("/assets/scene_image?view=partitions")
    page.get_by_text("Failed (1)").wait_for()
    page.get_by_text("Missing (1)").wait_for()

    open_dialog(page)
    presets = {
        "Failed": ["broken"],
        "Missing": ["mistyped"],
        "Failed and missing": ["broken", "mistyped"],
    }
    for preset, chosen in presets.items():
        page.get_by_role("button", name=preset, exact=True).click()
        count = "1 partition" if len(chosen) == 1 else "2 partitions"
        page.get_by_text(count, exact=True).wait_for()
        for scene_id in chosen:
            page.locator("[role=dialog]").get_by_text(f"holes/{scene_id}").first.wait_for()
    open_dialog(page)
    choose_project(page, "holes", len(FILMS["holes"]) + 1)
    configure(page, "ops:\n  stream_frames:\n    config:\n      prompt_suffix: at dusk\n")
    page.screenshot(path=tmp_path / "dialog.png")
    backfill_id = launch(page)

    wait_until(
        lambda: backfill_status(stage.cli, backfill_id) == "COMPLETED_FAILED", PATIENCE_SECONDS
    )
    assert stage.versions("holes") == {"good": 2, "other": 2, "broken": None}
    paid = stage.paid_for("holes")[before:]
    assert len(paid) == 2
    assert all(prompt.endswith("at dusk") for prompt in paid)

    # From the ledger to Dagster and back.
    told = stage.cli("status", "--backfill", backfill_id, "--json").document["generations"]
    assert sorted(line["scene_id"] for line in told) == ["good", "other"]
    newest = stage.cli("versions", "holes", "good", "--json").document["versions"][0]
    assert newest["run_id"] in backfill_runs(stage.cli, backfill_id)
    page.goto(f"/runs/{newest['run_id']}")
    page.get_by_text(backfill_id).first.wait_for()
    page.goto("/runs?view=runs&q[0]=tag:scene_pipeline/project=holes")
    page.get_by_text(newest["run_id"][:8]).first.wait_for()
    page.goto("/assets/scene_image?view=partitions&partition=holes%2Fgood")
    page.get_by_text("Failed (2)").wait_for()
    page.get_by_text("Missing (0)").wait_for()
    picture = page.locator("img[src^='data:image']").first
    picture.wait_for()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 40")


def test_every_sensor_and_schedule_is_told_in_the_ui_and_ticks(stage: Stage, page: Page) -> None:
    def has_ticked() -> bool:
        sensors = automation(stage.cli)["sensors"]
        return all(sensor["sensorState"]["ticks"] for sensor in sensors)

    wait_until(has_ticked, PATIENCE_SECONDS)
    told = automation(stage.cli)
    for sensor in told["sensors"]:
        assert sensor["description"], sensor
        assert sensor["sensorState"]["status"] == "RUNNING", sensor
        ticks = sensor["sensorState"]["ticks"]
        assert {tick["status"] for tick in ticks} <= {"SKIPPED", "SUCCESS", "STARTED"}, ticks
    for schedule in told["schedules"]:
        assert schedule["description"], schedule
        assert schedule["scheduleState"]["status"] == "RUNNING", schedule
        answer = try_schedule(stage.cli, schedule["name"])
        assert answer["error"] is None, answer
    page.goto("/automation")
    for one in (*told["sensors"], *told["schedules"]):
        page.get_by_text(one["name"], exact=True).first.wait_for()
    assert len(told["sensors"]) == len(SENSORS)
    assert len(told["schedules"]) == len(SCHEDULES)
