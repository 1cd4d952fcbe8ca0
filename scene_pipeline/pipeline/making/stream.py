"""The stream: all scenes of a run at once, each told the moment a stage of it is done.

A fixed number of workers take scenes from the plan and carry each from prompt to document; every
stage has its own bound, checks follow the outcomes a bounded number at a time, and the queue of
events is bounded too, so that pictures, tasks and connections depend on the bounds and not on the
number of scenes: of each scene there is only its plan, and its name while it waits to be checked.
One bad scene ends as an outcome and holds nothing up. The scenes of a continuity group are one
worker's, one after the other.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import psycopg

from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.errors import DatabaseError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.making.cancellation import raise_if_cancelled
from scene_pipeline.pipeline.making.continuity import units_of
from scene_pipeline.pipeline.making.following_checks import FollowingChecks
from scene_pipeline.pipeline.making.narration import narrated
from scene_pipeline.pipeline.making.publish import Publisher
from scene_pipeline.pipeline.making.run_context import RunContext
from scene_pipeline.pipeline.making.scene_flow import run_scene
from scene_pipeline.pipeline.orders import FrameOrder, StreamEvent
from scene_pipeline.pipeline.planning.plan import plan_order
from scene_pipeline.pipeline.planning.scene_work import SceneWork
from scene_pipeline.pipeline.retrying import DatabasePatience
from scene_pipeline.pipeline.services import Services
from scene_pipeline.telemetry.stages import RunRecord, scene_record, stage

EVENT_QUEUE_SIZE = 256
"""Events that may wait for the reader before the stream itself waits."""


async def stream_frames(order: FrameOrder, services: Services) -> AsyncGenerator[StreamEvent]:
    """Work on every scene of an order and tell what happens, in the order in which it happens.

    Yields:
        `StageDone` when a stage is committed, `SceneProgress` for live displays, exactly one
        `SceneOutcome` per scene, and what the checks found after that.

    Raises:
        UsageError: The order cannot be planned; nothing was changed.
    """
    with RunRecord(order.run_id, len(order.scenes)) as run:
        async with aclosing(_stream_frames(order, services, run)) as events:
            async for event in events:
                yield event


async def _stream_frames(
    order: FrameOrder, services: Services, run: RunRecord
) -> AsyncGenerator[StreamEvent]:
    failpoint("before_plan")
    with run.active(), stage("planning", scenes=len(order.scenes)):
        units = await _plan(order, services)
    failpoint("after_plan")
    events: asyncio.Queue[StreamEvent | None] = asyncio.Queue(EVENT_QUEUE_SIZE)
    async with GenerationLocks.connect(services.database_url) as locks:
        context = RunContext.create(order, services, locks, narrated(events.put))

        async def work_and_say_so() -> None:
            try:
                await _work_and_check(context, units)
            except Exception:
                await events.put(None)
                raise
            await events.put(None)

        with run.active():  # what the task and its own do belongs to the run
            workers = asyncio.create_task(work_and_say_so())
        try:
            while (event := await events.get()) is not None:
                yield event
            await workers
        finally:
            workers.cancel()
            await asyncio.gather(workers, return_exceptions=True)


async def _plan(order: FrameOrder, services: Services) -> list[tuple[SceneWork, ...]]:
    async def plan_units() -> list[tuple[SceneWork, ...]]:
        return await units_of(services, await plan_order(order, services))

    try:
        return await DatabasePatience(services.sleep).carry_out(plan_units)
    except psycopg.OperationalError as error:
        message = "The database stopped answering; nothing was begun."
        raise DatabaseError(message) from error


async def _work_and_check(context: RunContext, units: Sequence[Sequence[SceneWork]]) -> None:
    """Carry every scene to its outcome, and wait for the checks that follow them."""
    async with FollowingChecks(context.order, context.services, context.emit) as checks:
        await _work_through(context, checks, units)


async def _work_through(
    context: RunContext, checks: FollowingChecks, units: Sequence[Sequence[SceneWork]]
) -> None:
    settings = context.services.settings
    publisher = Publisher(context.services)
    waiting = iter(units)

    async def worker() -> None:
        for unit in waiting:
            for work in unit:
                raise_if_cancelled()
                with scene_record(work.ref.project_key, work.ref.scene_id):
                    await run_scene(context, publisher, checks, work)

    count = min(
        len(units),
        settings.generation_concurrency
        + settings.download_concurrency
        + settings.decode_workers
        + settings.upload_concurrency,
    )
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(worker())
    finally:
        await publisher.close()
