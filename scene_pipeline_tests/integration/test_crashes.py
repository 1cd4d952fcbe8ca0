"""Killed at every step boundary: nothing is paid twice and nothing is lost.

Each worker is a process of its own that is really killed (SIGKILL); afterwards two workers race to
finish what it left.
"""

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import ForkServerProcess
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.pipeline.failpoints import FAILPOINTS
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film

SCENES = 3
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["scene_pipeline_tests.films"])


def work(settings: dict[str, Any], database_url: str, order: dict[str, Any]) -> None:
    """The body of a worker process."""
    from scene_pipeline.settings import load_settings  # noqa: PLC0415  # in the new process

    Studio(load_settings(**settings), database_url).run(*order.pop("scene_ids", ()), **order)


def start_worker(
    studio: Studio, order: dict[str, Any] | None = None, **settings: Any
) -> ForkServerProcess:
    given = studio.settings.model_dump() | settings
    worker = processes.Process(target=work, args=(given, studio.database_url, order or {}))
    worker.start()
    return worker


def finish_racing(studio: Studio) -> list[Run]:
    """Two workers at once take up what was left."""
    runs: list[Run] = []
    threads = [threading.Thread(target=lambda: runs.append(studio.run())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return runs


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_at(failpoint: str, fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(SCENES)]))

    worker = start_worker(fal_studio, failpoint=f"{failpoint}:kill")
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    runs = finish_racing(fal_studio)

    assert [len(run.outcomes) for run in runs] == [SCENES, SCENES]
    assert {s for run in runs for s in run.statuses.values()} <= {"generated", "kept"}
    assert len(fal.meter.accepted) == SCENES
    assert_invariants(fal_studio)


def test_a_worker_stopped_before_it_pays_keeps_its_right_to_pay(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    worker = start_worker(fal_studio, failpoint="before_post:stop")
    assert worker.pid is not None
    while not fal_studio.sql("SELECT 1 FROM generations WHERE state = 'submitting'"):
        assert worker.is_alive()

    rival = threading.Thread(target=fal_studio.run)
    rival.start()
    rival.join(4)  # longer than it takes to believe that the request was never sent
    is_waiting = rival.is_alive()
    os.kill(worker.pid, signal.SIGCONT)
    worker.join(60)
    rival.join(60)

    assert is_waiting
    assert worker.exitcode == 0
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)
