"""The lists of docs/automation.md hold what there is: nothing is missing, nothing is gone."""

import re
from pathlib import Path

import scene_pipeline
from scene_pipeline.defs.schedules import SCHEDULES
from scene_pipeline.defs.sensors import SENSORS
from scene_pipeline.scenes.overrides import RequestOverrides
from scene_pipeline.settings import Settings

PAGE = (Path(scene_pipeline.__file__).parents[1] / "docs" / "automation.md").read_text("utf-8")


def rows_under(heading: str) -> list[list[str]]:
    """The cells of the table that begins with this heading."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    lines = table.split("\n")[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_sensor_is_listed() -> None:
    listed = {row[0].strip("`"): row for row in rows_under("sensor")}

    assert set(listed) == {sensor.name for sensor in SENSORS}
    spending = {name for name, row in listed.items() if row[-1].startswith("yes")}
    assert spending == {s.name for s in SENSORS if "MONEY" in (s.description or "")}


def test_every_schedule_is_listed_with_its_time() -> None:
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows_under("schedule (UTC)")}

    assert listed == {schedule.name: schedule.cron_schedule for schedule in SCHEDULES}


def test_every_override_is_listed() -> None:
    listed = rows_under("member of `overrides` (jsonb; all optional)")
    names = {name for row in listed for name in re.findall(r"`(\w+)`", row[0])}

    assert names == set(RequestOverrides.__dataclass_fields__)


def test_every_variable_exists() -> None:
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}

    assert set(re.findall(r"SCENE_PIPELINE_[A-Z_]+", PAGE)) <= known
