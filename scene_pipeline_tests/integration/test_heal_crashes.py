"""Killed at every step boundary of healing: the version stays, and the next heal finishes it."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.pipeline.failpoints import HEAL_FAILPOINTS
from scene_pipeline.pipeline.upkeep.heal import HealReport, heal
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_heal import heal_now, run_with_store_down, store_down
from scene_pipeline_tests.waiting import wait_until

SCENES = 3
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["scene_pipeline_tests.films"])


def work(settings: dict[str, Any], database_url: str, is_healing: bool) -> None:
    """The body of a worker process."""
    from scene_pipeline.settings import load_settings  # noqa: PLC0415  # in the new process

    studio = Studio(load_settings(**settings), database_url)
    if is_healing:
        studio.do(heal)
    else:
        studio.run()


def start_worker(studio: Studio, failpoint: str, *, is_healing: bool) -> Any:
    given = studio.settings.model_dump() | {"failpoint": failpoint}
    worker = processes.Process(target=work, args=(given, studio.database_url, is_healing))
    worker.start()
    return worker


def heal_racing(studio: Studio) -> list[HealReport]:
    """Two workers at once take up what was left."""
    reports: list[HealReport] = []
    threads = [threading.Thread(target=lambda: reports.append(heal_now(studio))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return reports


@pytest.mark.parametrize("failpoint", HEAL_FAILPOINTS)
def test_killed_while_healing_at(failpoint: str, fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(SCENES)]))
    run_with_store_down(fal_studio)

    worker = start_worker(fal_studio, f"{failpoint}:kill", is_healing=True)
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    reports = heal_racing(fal_studio)

    assert len(reports) == 2
    assert heal_now(fal_studio).versions == ()
    assert fal_studio.sql("SELECT DISTINCT version, storage_status FROM scene_images") == [
        {"version": 1, "storage_status": "stored"}
    ]
    assert fal_studio.sql("SELECT DISTINCT state, refcount FROM storage_objects") == [
        {"state": "present", "refcount": 1}
    ]
    assert len(fal.meter.accepted) == SCENES
    assert_invariants(fal_studio)


@pytest.mark.parametrize("failpoint", ["after_intent", "after_stored", "after_recorded"])
def test_killed_while_the_store_is_down_at(
    failpoint: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(SCENES)]))
    with store_down(fal_studio):
        worker = start_worker(fal_studio, f"{failpoint}:kill", is_healing=False)
        worker.join(60)
        assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
        still_down: Run = fal_studio.run()

    report = heal_now(fal_studio)

    assert set(still_down.statuses.values()) <= {"generated", "kept"}
    assert report.count("healed") == SCENES
    assert len(fal.meter.accepted) == SCENES
    assert_invariants(fal_studio)


def is_stopped(process_id: int) -> bool:
    status = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    return status.rpartition(")")[2].split()[0] == "T"


def test_a_stopped_healer_keeps_its_lock_and_the_run_goes_on(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    run_with_store_down(fal_studio)
    worker = start_worker(fal_studio, "heal_before_record:stop", is_healing=True)
    try:
        wait_until(lambda: is_stopped(worker.pid), 30.0)
        rival = heal_now(fal_studio)
        run = fal_studio.run()
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    worker.join(60)

    assert [version.status for version in rival.versions] == ["busy"]
    assert run.statuses == {"scene_1": "kept"}
    assert worker.exitcode == 0
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)
