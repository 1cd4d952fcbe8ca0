"""PostgreSQL killed under a running stream: nothing is paid twice, and the next run finishes.

A server of the test's own: its postmaster is killed (SIGKILL), its supervisor starts it again on
the same port. For clients that is a restart with `-m immediate`: no goodbye, recovery from the log.
"""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from scene_pipeline.database.embedded.layout import APPLICATION_DATABASE
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.migrations import migrate
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.orders import SceneOutcome
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.standins.embedded_servers import attached
from scene_pipeline_tests.waiting import wait_until

RETRYABLE = {"database_failed", "lock_lost", "submit_ambiguous", "ledger_moved"}


@pytest.fixture
def own_server_url(embedded_home: Path) -> Iterator[str]:
    """A migrated database on a server of the test's own."""
    with attached(embedded_home) as server:
        url = server.url(APPLICATION_DATABASE)
        migrate(url)
        yield url


def postmaster_pid(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])


def is_back(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def count(studio: Studio, states: str) -> int:
    try:
        [row] = studio.sql(f"SELECT count(*) AS n FROM generations WHERE state IN ({states})")  # noqa: S608
    except psycopg.OperationalError:
        return -1
    return int(row["n"])


class Restarts(threading.Thread):
    """Kills the server whenever the run has got a little further."""

    def __init__(self, studio: Studio, home: Path, times: int, scenes: int) -> None:
        super().__init__()
        self._studio, self._home, self._times, self._scenes = studio, home, times, scenes
        self.done = 0
        self.is_over = threading.Event()

    def run(self) -> None:
        for number in range(1, self._times + 1):
            wanted = number * self._scenes // (self._times + 2)
            while count(self._studio, "'submitted', 'completed', 'published'") < wanted:
                if self.is_over.wait(0.02):
                    return
            os.kill(postmaster_pid(self._home), signal.SIGKILL)
            wait_until(lambda: is_back(self._studio.database_url), 60)
            self.done += 1


@pytest.mark.parametrize(
    ("scenes", "restarts"), [(24, 1), pytest.param(60, 4, marks=pytest.mark.long)]
)
def test_a_server_that_is_killed_costs_no_frame_and_no_money(  # noqa: PLR0917  # fixtures
    scenes: int,
    restarts: int,
    own_server_url: str,
    embedded_home: Path,
    fal: FalStandIn,
    fal_studio: Studio,
) -> None:
    url = own_server_url
    fal.jobs.run_seconds = 0.5
    studio = Studio(fal_studio.settings, url)
    studio.bring(film([f"Scene number {n}" for n in range(scenes)]))
    killer = Restarts(studio, embedded_home, restarts, scenes)
    killer.start()
    runs: list[Run] = []
    try:
        while killer.is_alive() and len(runs) < 4 * restarts + 4:
            wait_until(lambda: is_back(url), 60)
            try:
                runs.append(studio.run())
            except psycopg.OperationalError:
                continue  # killed while the run was planned
    finally:
        killer.is_over.set()
        killer.join(90)

    final = studio.run()

    assert killer.done == restarts
    failures = {
        event.failure.code
        for run in runs
        for event in run.events
        if isinstance(event, SceneOutcome) and event.failure is not None
    }
    assert failures <= RETRYABLE
    if restarts == 1:
        assert failures == set(), "one short restart is sat out"
    assert set(final.statuses.values()) <= {"kept", "generated"}
    assert len(final.outcomes) == scenes
    assert len(fal.meter.accepted) == scenes
    assert_invariants(studio)


async def terminate_lock_holders(services: Services) -> None:
    async with services.pool.connection() as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'scene-pipeline-locks' AND datname = current_database()"
        )


def test_a_lost_connection_loses_its_locks_and_the_next_lock_stands_on_a_new_one(
    studio: Studio,
) -> None:
    lost, later = uuid4(), uuid4()

    async def work(services: Services) -> None:
        async with (
            GenerationLocks.connect(studio.database_url) as ours,
            GenerationLocks.connect(studio.database_url) as theirs,
        ):
            assert await ours.try_acquire(lost)
            assert not await theirs.try_acquire(lost)
            await terminate_lock_holders(services)
            with pytest.raises(LedgerError) as caught:
                await ours.assert_held(lost)
            assert (caught.value.error_code, caught.value.retryable) == ("lock_lost", True)
            assert await ours.try_acquire(later)
            await ours.assert_held(later)
            with pytest.raises(LedgerError):
                await ours.assert_held(lost)
            await ours.release(lost)  # is no longer held, and no error
            assert await theirs.try_acquire(lost)
            assert not await ours.try_acquire(lost)

    studio.do(work)


def test_giving_a_lock_back_on_a_lost_connection_is_no_error(studio: Studio) -> None:
    generation_id = uuid4()

    async def work(services: Services) -> None:
        async with GenerationLocks.connect(studio.database_url) as locks:
            assert await locks.try_acquire(generation_id)
            await terminate_lock_holders(services)
            await locks.release(generation_id)
            assert await locks.try_acquire(generation_id)

    studio.do(work)


@pytest.mark.long
def test_nothing_is_sent_once_the_lock_is_lost(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    slow = Studio(
        fal_studio.settings.model_copy(update={"failpoint": "after_permit:sleep"}),
        fal_studio.database_url,
    )
    runs: list[Run] = []
    runner = threading.Thread(target=lambda: runs.append(slow.run()))
    runner.start()
    wait_until(lambda: count(fal_studio, "'submitting'") == 1)
    [held] = fal_studio.sql("SELECT submitting_at FROM generations")
    fal_studio.do(terminate_lock_holders)
    runner.join(60)

    assert runs[0].statuses == {"scene_1": "generated"}
    [sent] = fal_studio.sql("SELECT submitting_at FROM generations")
    assert sent["submitting_at"] > held["submitting_at"], "the first permission was used after all"
    assert len([c for c in fal.contacts if c.method == "POST"]) == 1
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)
