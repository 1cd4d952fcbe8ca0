"""A worker that is cancelled starts nothing more, though it never hears of it."""

import asyncio
import uuid
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.pipeline.making.cancellation import raise_if_cancelled
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneRef
from scene_pipeline.pipeline.projects.importing import import_document
from scene_pipeline_tests.films import film
from scene_pipeline_tests.stage import Stage, open_stage

SCENES = 40


class DeafSleep:
    """Cancels each task that sleeps, once, and lets it lose that.

    So does `asyncio.wait_for` where an answer comes in the same turn of the loop.
    """

    def __init__(self) -> None:
        self.cancelled: set[asyncio.Task[Any] | None] = set()

    async def __call__(self, _seconds: float) -> None:
        task = asyncio.current_task()
        if task is not None and task not in self.cancelled:
            self.cancelled.add(task)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


async def stream_to_the_end(stage: Stage, key: str) -> None:
    document = film([f"Scene number {number}" for number in range(SCENES)], key=key)
    async with stage.services.pool.connection() as conn:
        await import_document(
            conn,
            stage.services.settings,
            document,
            file_name="film.json",
            origin="film.json",
            project_key=None,
            force=True,
        )
    order = FrameOrder(
        scenes=tuple(SceneRef(key, f"scene_{number}") for number in range(1, SCENES + 1)),
        mode="ensure",
        token="",
        run_id=str(uuid.uuid4()),
    )
    async with aclosing(stream_frames(order, stage.services)) as stream:
        async for _ in stream:
            pass


def test_a_worker_that_lost_its_cancellation_buys_nothing_more(
    database_url: str, tmp_path: Path
) -> None:
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.services.sleep = deaf = DeafSleep()

        stage.do(stream_to_the_end(stage, "film"))

        assert 0 < len(stage.provider.accepted) <= len(deaf.cancelled) < SCENES


def test_a_task_that_nobody_cancelled_goes_on() -> None:
    async def main() -> None:
        raise_if_cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(10)
        raise_if_cancelled()

    asyncio.run(main())
