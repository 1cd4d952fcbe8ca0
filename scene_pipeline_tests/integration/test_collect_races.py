"""The collector against those who begin to need an object at the same instant.

With `NOT EXISTS (SELECT 1 FROM storyboards b WHERE b.storage_path = o.key)` in the place of
`o.refcount = 0` in `database.collection`, the first test fails: the collector's statement waits for
the recorder's row lock and then still believes its old snapshot.
"""

import asyncio
import hashlib
import random
import threading
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from scene_pipeline.database import objects
from scene_pipeline.database.storyboards import StoryboardRow, record_storyboard
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect import collect_registered, remove_marked
from scene_pipeline.pipeline.upkeep.collect_report import CollectReport
from scene_pipeline_tests.films import Studio, assert_invariants, film

NO_GRACE = timedelta(0)


async def sweep(services: Services) -> CollectReport:
    report = CollectReport(is_applied=True)
    await collect_registered(services, report, NO_GRACE, 100)
    await remove_marked(services, report, 100)
    assert report.failures == []
    return report


async def store_sheet(services: Services, project_id: UUID) -> StoryboardRow:
    """An object that is present and that nothing refers to yet."""
    data = uuid4().bytes
    digest = hashlib.sha256(data).hexdigest()
    key = f"projects/{project_id}/sheets/sheet_20200101T000000Z_{digest[:16]}.png"
    async with services.pool.connection() as conn:
        await objects.register_intent(
            conn, key, sha256=digest, size_bytes=len(data), content_type="image/png"
        )
        await objects.mark_present(conn, key)
    services.store.put(key, data, content_type="image/png", sha256=digest)
    return StoryboardRow(project_id, digest, key, "url", digest, len(data), 1, 1, None)


async def race(services: Services, project_id: UUID, rounds: int, seed: int) -> Counter[str]:
    chance = random.Random(seed)  # noqa: S311
    outcomes: Counter[str] = Counter()
    late = 0.003
    """Seconds by which the collector leads: both win about as often, on any machine."""
    for _ in range(rounds):
        sheet = await store_sheet(services, project_id)
        start = asyncio.Barrier(2)

        async def record(
            delay: float, sheet: StoryboardRow = sheet, start: asyncio.Barrier = start
        ) -> bool:
            async with services.pool.connection() as conn:
                await start.wait()
                await asyncio.sleep(delay)
                try:
                    await record_storyboard(conn, sheet)
                except LedgerError as error:
                    if error.error_code != "object_collected":
                        raise
                    return False
                return True

        async def collect(delay: float, start: asyncio.Barrier = start) -> None:
            await start.wait()
            await asyncio.sleep(delay)
            await sweep(services)

        recorded, _ = await asyncio.gather(
            record(chance.uniform(0, 2 * late)), collect(chance.uniform(0, 0.002))
        )
        await sweep(services)  # what was not decided in the race is decided now
        async with services.pool.connection() as conn:
            cursor = await conn.execute(
                "SELECT o.state, o.refcount, EXISTS (SELECT 1 FROM storyboards b"
                " WHERE b.storage_path = o.key) AS is_needed"
                " FROM storage_objects o WHERE key = %s",
                (sheet.storage_path,),
            )
            row = await cursor.fetchone()
        is_there = services.store.head(sheet.storage_path) is not None
        assert row == {
            "state": "present" if recorded else "deleted",
            "refcount": 1 if recorded else 0,
            "is_needed": recorded,
        }
        assert is_there == recorded
        outcomes["kept" if recorded else "collected"] += 1
        late = late * 1.4 if recorded else late / 1.4
    return outcomes


@pytest.mark.parametrize("rounds", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_nothing_that_is_needed_is_ever_removed(rounds: int, studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    [project] = studio.sql("SELECT id FROM projects")
    seed = random.randrange(10**6)  # noqa: S311
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails

    outcomes = studio.do(lambda services: race(services, project["id"], rounds, seed))

    assert sum(outcomes.values()) == rounds
    assert set(outcomes) == {"kept", "collected"}, "the race always went one way"
    lost = studio.sql(
        "SELECT b.storage_path FROM storyboards b JOIN storage_objects o ON o.key = b.storage_path"
        " WHERE o.state <> 'present' OR o.refcount <> 1"
    )
    assert lost == []


@pytest.mark.parametrize("scenes", [12, pytest.param(100, marks=pytest.mark.long)])
def test_a_collector_without_grace_costs_a_run_nothing(
    scenes: int, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film([f"Scene number {n}" for n in range(scenes)]))
    is_over = threading.Event()
    collected: list[int] = []

    async def keep_collecting(services: Services) -> None:
        while not is_over.is_set():
            report = await sweep(services)
            collected.append(report.deleted.objects)
            await asyncio.sleep(0.003)

    collector = threading.Thread(target=lambda: fal_studio.do(keep_collecting))
    collector.start()
    try:
        first = fal_studio.run()
        if set(first.statuses.values()) != {"generated"}:
            fal_studio.run()
    finally:
        is_over.set()
        collector.join(30)
    final = fal_studio.run()

    assert set(final.statuses.values()) <= {"kept", "generated"}
    assert sum(collected) > 0, "the collector met nothing"
    assert len(fal.meter.accepted) == scenes
    assert_invariants(fal_studio)
    rows = fal_studio.sql("SELECT storage_path FROM scene_images")
    frames = fal_studio.settings.home_directory / "frames"
    assert all((frames / row["storage_path"]).exists() for row in rows)
