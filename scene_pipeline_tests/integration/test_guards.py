"""Each guard of the ledger on its own, against exactly what it is there for.

Most of them stand one behind the other, so that the pipeline's other tests would still pass with
one taken out. These would not: `end_to_end/test_mutations.py` takes each out and sees.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from scene_pipeline.database.generations import get_generation
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.recording import CheckedPicture, record_versions
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.standins.scripted_provider import scripted_provider
from scene_pipeline_tests.waiting import wait_until

_ANOTHER_VERSION = """
INSERT INTO scene_images (project_id, scene_id, storage_url, storage_status, generation_id,
    image_index, version, is_current)
SELECT project_id, scene_id, 'http://elsewhere/x', 'external', generation_id, %s, %s, true
FROM scene_images WHERE version = 1
"""


def test_the_database_itself_refuses_a_second_current_version(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()
    studio.run(mode="regenerate", token="again")

    with pytest.raises(psycopg.errors.UniqueViolation, match="scene_images_one_current"):
        studio.sql("UPDATE scene_images SET is_current = true")


def test_the_database_itself_refuses_a_second_version_of_one_generation(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()

    studio.sql("UPDATE scene_images SET is_current = false")
    with pytest.raises(psycopg.errors.UniqueViolation, match="generation_id"):
        studio.sql(_ANOTHER_VERSION, 0, 2)


def test_of_recorders_that_know_nothing_of_each_other_one_wins(studio: Studio) -> None:
    """As the project's first documents had it: demote, then insert, without the scene's head."""
    studio.bring(film(["A lighthouse"]))
    studio.run()

    def record(conn: psycopg.Connection, version: int) -> None:
        conn.execute("UPDATE scene_images SET is_current = false WHERE is_current")
        conn.execute(_ANOTHER_VERSION.encode(), (version, version))

    with (
        psycopg.connect(studio.database_url) as first,
        psycopg.connect(studio.database_url) as second,
        ThreadPoolExecutor(1) as thread,
    ):
        record(first, 2)
        late = thread.submit(record, second, 3)
        wait_until(lambda: bool(studio.sql("SELECT 1 FROM pg_locks WHERE NOT granted")))
        first.commit()
        with pytest.raises(psycopg.errors.UniqueViolation, match="scene_images_one_current"):
            late.result(10)
        second.rollback()

    assert studio.sql("SELECT version FROM scene_images WHERE is_current") == [{"version": 2}]


def test_a_frame_is_not_written_into_a_scene_that_was_edited_since_it_was_recorded(
    studio: Studio,
) -> None:
    studio.bring(film(["A lighthouse"]))
    failing = Studio(
        studio.settings.model_copy(update={"failpoint": "before_publish:raise"}),
        studio.database_url,
    )
    assert failing.run().statuses == {"scene_1": "failed"}
    arm(None)
    assert studio.sql("SELECT state FROM generations") == [{"state": "recorded"}]
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A lighthouse at dusk")

    run = studio.run()

    assert run.statuses == {"scene_1": "stale"}
    assert studio.start_frame("scene_1") is None
    assert studio.sql("SELECT state FROM generations") == [{"state": "superseded"}]


def test_a_generation_is_recorded_once_by_many_recorders(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    failing = Studio(
        studio.settings.model_copy(update={"failpoint": "after_stored:raise"}),
        studio.database_url,
    )
    failing.run()
    arm(None)
    [row] = studio.sql("SELECT id FROM generations WHERE state = 'stored'")

    async def record(services: Services) -> None:
        async with services.pool.connection() as conn:
            generation = await get_generation(conn, row["id"])
            await conn.commit()
            picture = CheckedPicture(
                0, "http://x/y", generation.storage_key, generation.image or {}, None, None
            )
            await record_versions(conn, generation, [picture])

    async def race(services: Services) -> None:
        await asyncio.gather(*(record(services) for _ in range(8)))

    studio.do(race)

    assert studio.sql("SELECT version, is_current FROM scene_images") == [
        {"version": 1, "is_current": True}
    ]
    assert studio.sql("SELECT last_version FROM scene_heads") == [{"last_version": 1}]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_on_one_generation_pay_once_however_slow_the_service(
    workers: int, database_url: str, tmp_path: Path
) -> None:
    """One is in the middle of paying while the others find the request in no history."""
    with scripted_provider() as provider:
        provider.submit_seconds = 0.7
        settings = provider.settings(tmp_path / "home", ambiguous_settle_seconds=0.2)
        studio = Studio(settings, database_url, {"fal": provider})
        studio.bring(film(["A lighthouse"]))
        # each with connections and locks of its own, as processes have
        with ThreadPoolExecutor(workers) as threads:
            runs = list(threads.map(lambda _: studio.run(), range(workers)))

    assert [run.statuses["scene_1"] in ("generated", "kept") for run in runs] == [True] * workers
    assert list(provider.charges.values()) == [1]
    assert_invariants(studio)


def test_locks_are_closed_after_the_question_that_is_under_way(database_url: str) -> None:
    """A scene cut off while it gives its lock back leaves a question behind."""

    async def cut_off() -> None:
        generation_id = uuid4()
        async with GenerationLocks.connect(database_url) as locks:
            assert await locks.try_acquire(generation_id)
            left_behind = asyncio.create_task(locks.release(generation_id))
            await asyncio.sleep(0)
            assert not left_behind.done()
        assert left_behind.done()
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        assert len(selector.get_map()) == 1, "only the loop's own socket is watched"

    asyncio.run(cut_off())
