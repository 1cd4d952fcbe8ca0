"""What the stages of one run share: services, locks, bounds and the way to tell what happened."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from scene_pipeline.database.budgets import Cap
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.rows import Generation
from scene_pipeline.database.slots import ProviderSlots
from scene_pipeline.errors import ProviderError
from scene_pipeline.pipeline.facts import micros
from scene_pipeline.pipeline.making.histories import FrameHistories
from scene_pipeline.pipeline.orders import (
    Failure,
    FrameOrder,
    ProgressKind,
    SceneProgress,
    SceneRef,
    Stage,
    StageDone,
    StreamEvent,
)
from scene_pipeline.pipeline.retrying import DatabasePatience
from scene_pipeline.pipeline.services import Services


@dataclass
class RunContext:
    """One run's shared state; nothing in it outlives the run."""

    order: FrameOrder
    services: Services
    locks: GenerationLocks
    emit: Callable[[StreamEvent], Awaitable[None]]
    in_flight: asyncio.Semaphore
    """Requests of this run that are at a provider."""
    slots: ProviderSlots
    """Requests of all runs that are at one provider."""
    submits: asyncio.Semaphore
    polls: asyncio.Semaphore
    downloads: asyncio.Semaphore
    decodes: asyncio.Semaphore
    uploads: asyncio.Semaphore
    database: DatabasePatience
    histories: FrameHistories
    """What came before a frame, for those who look at it."""
    stopped_by: dict[str, ProviderError] = field(default_factory=dict)
    """By provider, set when it refuses everything: later scenes do not even try it."""
    told: set[tuple[SceneRef, Stage]] = field(default_factory=set)
    """Stages that were told: what is done again after a lost connection is told once."""
    store_failures: list[Failure] = field(default_factory=list)
    """Why frames could not be healed; after a few of them no more are tried."""
    finished: set[SceneRef] = field(default_factory=set)
    """Scenes whose outcome was told."""
    paid_here: defaultdict[SceneRef, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    """Generations whose cost is this run's: not paid before it, nor by a run waited for."""
    worked_on: set[UUID] = field(default_factory=set)
    """Generations that had something left to be done when this run took them in hand."""

    @classmethod
    def create(
        cls,
        order: FrameOrder,
        services: Services,
        locks: GenerationLocks,
        emit: Callable[[StreamEvent], Awaitable[None]],
    ) -> "RunContext":
        """Take the bounds from the settings."""
        settings = services.settings
        return cls(
            order=order,
            services=services,
            locks=locks,
            emit=emit,
            in_flight=asyncio.Semaphore(settings.generation_concurrency),
            slots=ProviderSlots(locks, settings.provider_concurrency),
            submits=asyncio.Semaphore(min(settings.generation_concurrency, 8)),
            polls=asyncio.Semaphore(8),
            downloads=asyncio.Semaphore(settings.download_concurrency),
            decodes=asyncio.Semaphore(settings.decode_workers),
            uploads=asyncio.Semaphore(settings.upload_concurrency),
            database=DatabasePatience(services.sleep),
            histories=FrameHistories(services),
        )

    async def tell(self, done: StageDone) -> None:
        """Tell a stage that was selected; once, however often its scene's work is done again."""
        if done.stage in self.order.stages and (done.scene, done.stage) not in self.told:
            self.told.add((done.scene, done.stage))
            await self.emit(done)

    def is_untold(self, scene: SceneRef, *stages: Stage) -> bool:
        """Whether any of these stages of a scene is selected and was not told yet."""
        return any(s in self.order.stages and (scene, s) not in self.told for s in stages)

    def caps(self, generation: Generation) -> list[Cap]:
        """The budgets that a payment for this generation must fit."""
        settings = self.services.settings
        caps = [
            Cap("project", str(generation.project_id), micros(settings.project_cap_usd)),
            Cap("day", self.services.day_budget, micros(settings.day_cap_usd)),
        ]
        if self.order.max_cost_usd is not None:
            caps.append(Cap("run", self.order.run_id, micros(Decimal(self.order.max_cost_usd))))
        return caps


async def database_age_seconds(context: RunContext, moment: datetime) -> float:
    """Seconds since a moment of the database's clock, by that same clock."""
    async with context.services.pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT extract(epoch FROM clock_timestamp() - %s)::float8 AS age", (moment,)
        )
        row = await cursor.fetchone()
    return float(row["age"]) if row else 0.0


@dataclass(frozen=True, slots=True)
class SceneVoice:
    """Tells about one scene."""

    ref: SceneRef
    emit: Callable[[StreamEvent], Awaitable[None]]

    async def progress(self, kind: ProgressKind, text: str) -> None:
        """Tell something that really happened."""
        await self.emit(SceneProgress(self.ref, kind, text))
