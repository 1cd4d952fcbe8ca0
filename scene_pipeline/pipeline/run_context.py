"""What the stages of one run share: services, locks, bounds and the way to tell what happened."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from scene_pipeline.database.budgets import Cap
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import ProviderError
from scene_pipeline.pipeline.facts import micros
from scene_pipeline.pipeline.orders import (
    FrameOrder,
    ProgressKind,
    SceneProgress,
    SceneRef,
    StreamEvent,
)
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest


@dataclass
class RunContext:
    """One run's shared state; nothing in it outlives the run."""

    order: FrameOrder
    services: Services
    locks: GenerationLocks
    emit: Callable[[StreamEvent], Awaitable[None]]
    in_flight: asyncio.Semaphore
    """Requests that are at a provider."""
    submits: asyncio.Semaphore
    polls: asyncio.Semaphore
    downloads: asyncio.Semaphore
    decodes: asyncio.Semaphore
    uploads: asyncio.Semaphore
    stopped_by: ProviderError | None = field(default=None)
    """Set when the provider refuses everything: later scenes are not even tried."""

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
            submits=asyncio.Semaphore(min(settings.generation_concurrency, 8)),
            polls=asyncio.Semaphore(8),
            downloads=asyncio.Semaphore(settings.download_concurrency),
            decodes=asyncio.Semaphore(settings.decode_workers),
            uploads=asyncio.Semaphore(settings.upload_concurrency),
        )

    def caps(self, generation: Generation) -> list[Cap]:
        """The budgets that a payment for this generation must fit."""
        settings = self.services.settings
        caps = [
            Cap("project", str(generation.project_id), micros(settings.project_cap_usd)),
            Cap("day", "all", micros(settings.day_cap_usd)),
        ]
        if self.order.max_cost_usd is not None:
            caps.append(Cap("run", self.order.run_id, micros(Decimal(self.order.max_cost_usd))))
        return caps


def image_request(generation: Generation) -> ImageRequest:
    """The request that a ledger row stands for, exactly as it was or will be sent."""
    parameters = generation.parameters
    return ImageRequest(
        generation_id=str(generation.id),
        endpoint=generation.endpoint,
        prompt=generation.prompt,
        seed=generation.seed,
        width=generation.width,
        height=generation.height,
        negative_prompt=generation.negative_prompt,
        steps=parameters.get("steps"),
        guidance=parameters.get("guidance"),
        output_format=parameters.get("output_format") or "jpeg",
        arguments=parameters.get("arguments") or {},
    )


@dataclass(frozen=True, slots=True)
class SceneVoice:
    """Tells about one scene."""

    ref: SceneRef
    emit: Callable[[StreamEvent], Awaitable[None]]

    async def progress(self, kind: ProgressKind, text: str) -> None:
        """Tell something that really happened."""
        await self.emit(SceneProgress(self.ref, kind, text))
