"""Reads what came before a run's frames, for many scenes in one statement.

Belongs here: a run's way to ask. Does not belong here: the statement (`database.frame_history`).
"""

from collections.abc import Sequence
from uuid import UUID

from scene_pipeline.database.frame_history import FrameHistory, frame_histories
from scene_pipeline.pipeline.frame_history import with_history
from scene_pipeline.pipeline.orders import FrameFacts
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.together import Together

MAX_BATCH = 100
"""Generations per statement: bounds what is held of their earlier pictures."""


class FrameHistories:
    """One run's way to ask; a scene waits for its own answer only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reading: Together[UUID, FrameHistory | None] = Together(self._read, MAX_BATCH)

    async def of(self, generation_id: UUID) -> FrameHistory | None:
        """What came before a generation; None where there is no such row."""
        return await self._reading.ask(generation_id)

    async def complete(self, frame: FrameFacts) -> FrameFacts:
        """A version with what came before it."""
        return with_history(frame, await self.of(UUID(frame.generation_id)))

    async def _read(self, generation_ids: Sequence[UUID]) -> list[FrameHistory | None]:
        async with self._services.pool.connection() as conn:
            found = await frame_histories(conn, generation_ids)
        return [found.get(generation_id) for generation_id in generation_ids]
