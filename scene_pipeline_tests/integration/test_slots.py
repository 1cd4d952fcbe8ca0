"""Places at a provider: as many as there are for all processes, and none kept by the dead."""

import asyncio
import os
import signal
import threading
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from scene_pipeline.database.locks import LOCK_LOST, GenerationLocks
from scene_pipeline.database.slots import ProviderSlots
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneProgress, SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_continuity import studio_with
from scene_pipeline_tests.integration.test_crashes import start_worker
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider
from scene_pipeline_tests.waiting import wait_until

_COUNT = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
)


def locks_held(database_url: str) -> int:
    with psycopg.connect(database_url) as conn:
        row = conn.execute(_COUNT).fetchone()
    return int(row[0]) if row else 0


def test_processes_share_the_slots_of_each_provider(database_url: str) -> None:
    async def work() -> None:
        async with GenerationLocks.connect(database_url) as ours:
            async with GenerationLocks.connect(database_url) as theirs:
                here, there = ProviderSlots(ours, 2), ProviderSlots(theirs, 2)
                first, second = await asyncio.gather(here.try_take("fal"), here.try_take("fal"))
                assert first is not None
                assert second is not None
                assert first.name != second.name
                assert locks_held(database_url) == 2, "one lock per slot"
                assert await there.try_take("fal") is None
                assert await here.try_take("fal") is None, "a session could take its own again"
                assert await there.try_take("other") is not None

                await here.give_back(first)
                assert await there.try_take("fal") is not None
                assert await here.try_take("fal") is None
            # The server notices the end of a connection a moment after it.
            wait_until(lambda: locks_held(database_url) == 1)
            assert await here.try_take("fal") is not None, "what a process held ends with it"
            assert locks_held(database_url) == 2

    asyncio.run(work())


def test_a_slot_of_a_lost_connection_is_free_and_the_right_to_post_is_lost_too(
    database_url: str,
) -> None:
    async def work() -> None:
        async with GenerationLocks.connect(database_url) as locks:
            generation_id = uuid4()
            assert await locks.try_acquire(generation_id)
            slots = ProviderSlots(locks, 1)
            lost = await slots.try_take("fal")
            assert lost is not None
            with psycopg.connect(database_url, autocommit=True) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'scene-pipeline-locks'"
                )
            wait_until(lambda: locks_held(database_url) == 0)
            with pytest.raises(LedgerError) as caught:
                await locks.assert_held(generation_id)
            assert caught.value.error_code == LOCK_LOST

            assert await locks.try_acquire(generation_id), "on a new connection"
            taken = await slots.try_take("fal")
            assert taken is not None, "a slot that was lost is not held"
            await slots.give_back(lost)
            assert await slots.try_take("fal") is None, "giving it back frees nobody else's"
            assert locks_held(database_url) == 2

    asyncio.run(work())


def test_all_runs_together_never_have_more_requests_at_the_provider(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    studio = studio_with(provider, database_url, tmp_path, provider_concurrency=2)
    studio.bring(film([f"Scene {number}" for number in range(8)]))
    two_at_once = threading.Barrier(2)

    def meet(_request: ImageRequest) -> None:
        two_at_once.wait(20)

    provider.before_accepting = meet
    halves = [[f"scene_{n}" for n in range(1, 5)], [f"scene_{n}" for n in range(5, 9)]]
    runs: list[Run] = []

    threads = [
        threading.Thread(target=lambda half=half: runs.append(studio.run(*half))) for half in halves
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [set(run.statuses.values()) for run in runs] == [{"generated"}, {"generated"}]
    assert provider.most_at_once == 2
    assert any(is_waiting(run) for run in runs)
    assert_invariants(studio)


def test_without_a_limit_every_scene_of_a_run_may_be_there_at_once(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    studio = studio_with(provider, database_url, tmp_path, provider_concurrency=0)
    studio.bring(film([f"Scene {number}" for number in range(4)]))
    all_there = threading.Barrier(4)

    def meet(_request: ImageRequest) -> None:
        all_there.wait(20)

    provider.before_accepting = meet

    run = studio.run()

    assert set(run.statuses.values()) == {"generated"}


def test_a_scene_that_finds_no_place_is_blocked_and_sends_nothing(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    studio = studio_with(
        provider, database_url, tmp_path, provider_concurrency=1, generation_timeout_seconds=0.5
    )
    studio.bring(film(["A lighthouse"]))

    async def run_while_taken() -> Run:
        async with GenerationLocks.connect(database_url) as theirs:
            assert await ProviderSlots(theirs, 1).try_take("fal") is not None
            return await asyncio.to_thread(studio.run)

    run = asyncio.run(run_while_taken())

    assert run.statuses == {"scene_1": "blocked"}
    failure = run.outcomes["scene_1"].failure
    assert failure is not None
    assert failure.code == "provider_busy"
    assert provider.accepted == {}
    assert studio.sql("SELECT state FROM scene_status") == [{"state": "blocked"}]
    assert studio.sql("SELECT * FROM budgets WHERE reserved_micros <> 0") == []
    assert studio.run().statuses == {"scene_1": "generated"}


def test_what_was_sent_already_is_not_held_back(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    stopped = studio_with(
        provider, database_url, tmp_path, provider_concurrency=1, failpoint="while_polling:raise"
    )
    stopped.bring(film(["A lighthouse"]))
    assert stopped.run().statuses == {"scene_1": "failed"}
    studio = studio_with(provider, database_url, tmp_path, provider_concurrency=1)
    assert studio.sql("SELECT state FROM generations") == [{"state": "submitted"}]

    async def run_while_taken() -> Run:
        async with GenerationLocks.connect(database_url) as theirs:
            assert await ProviderSlots(theirs, 1).try_take("fal") is not None
            return await asyncio.to_thread(studio.run)

    run = asyncio.run(run_while_taken())

    assert run.statuses == {"scene_1": "generated"}
    assert len(provider.accepted) == 1


def test_a_killed_process_gives_its_place_to_another(fal: FalStandIn, fal_studio: Studio) -> None:
    settings = fal_studio.settings.model_copy(update={"provider_concurrency": 1})
    studio = Studio(settings, fal_studio.database_url)
    studio.bring(film(["A lighthouse", "A storm"]))
    holder = start_worker(studio, {"scene_ids": ["scene_1"]}, failpoint="before_post:stop")
    assert holder.pid is not None
    permitted = "SELECT 1 FROM generations WHERE state = 'submitting'"
    wait_until(lambda: bool(studio.sql(permitted)), 30)
    rival = Run()
    order = FrameOrder((SceneRef("film", "scene_2"),), mode="ensure", token="", run_id="rival")

    async def follow(services: Services) -> None:
        async for event in stream_frames(order, services):
            rival.events.append(event)

    thread = threading.Thread(target=lambda: studio.do(follow))
    thread.start()
    wait_until(lambda: is_waiting(rival), 30)
    # The stopped process holds its scene and the place; the rival has its scene and no place.
    held = locks_held(studio.database_url)
    sent_meanwhile = list(fal.meter.accepted)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    thread.join(60)

    assert held == 3
    assert sent_meanwhile == []
    assert rival.statuses == {"scene_2": "generated"}
    assert len(fal.meter.accepted) == 1


def is_waiting(run: Run) -> bool:
    texts = [event.text for event in run.events if isinstance(event, SceneProgress)]
    return "waiting for a place at fal" in texts
