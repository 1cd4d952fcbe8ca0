"""What Dagster's UI says of everything that runs by itself: what it does, and whether it spends.

Dagster shows the `description` of a sensor, schedule or job, and never its docstring.
"""

import dagster as dg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.schedules import SCHEDULES
from scene_pipeline.defs.sensors import SENSORS

SPENDERS = {"scene_changes", "regeneration_requests", "unfinished_generations", "frames"}
IMPLICIT_JOB = "__ASSET_JOB"
JOBS = {
    job.name: job.description
    for job in build_definitions().resolve_all_job_defs()
    if job.name != IMPLICIT_JOB
}
DESCRIBED = {
    **{sensor.name: sensor.description for sensor in SENSORS},
    **{schedule.name: schedule.description for schedule in SCHEDULES},
    **JOBS,
}


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_everything_says_what_it_does(name: str) -> None:
    words = DESCRIBED[name] or ""

    assert len(words.split()) >= 6
    assert words.rstrip().endswith(".")


def test_the_jobs_that_people_launch_are_among_them() -> None:
    assert {"frames", "storyboards", "imports", "heal"} <= JOBS.keys()


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_everything_says_whether_it_spends(name: str) -> None:
    words = (DESCRIBED[name] or "").lower()

    if name in SPENDERS:
        assert "money, under the caps" in words
    else:
        assert "spends nothing" in words or "free of charge" in words


@pytest.mark.parametrize("part", [*SENSORS, *SCHEDULES], ids=lambda part: part.name)
def test_what_runs_by_itself_is_switched_on(
    part: dg.SensorDefinition | dg.ScheduleDefinition,
) -> None:
    assert part.default_status.value == "RUNNING"
