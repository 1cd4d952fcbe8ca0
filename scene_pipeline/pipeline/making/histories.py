"""Reads what came before a run's frames, for many scenes in one statement.

Belongs here: a run's way to ask. Does not belong here: the statement (`database.frame_history`).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from scene_pipeline.database.frame_history import (
    Attempts,
    FrameHistory,
    attempts_up_to,
    earlier_versions,
    frame_histories,
    publishing_seconds,
    with_attempts,
)
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.pipeline.frame_history import with_history
from scene_pipeline.pipeline.orders import FrameFacts
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.together import Together

MAX_BATCH = 100
"""Generations per statement: bounds what is held of their earlier pictures."""

T = TypeVar("T")


class FrameHistories:
    """One run's way to ask; a scene waits for its own answer only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._whole = self._together(frame_histories)
        self.attempts = self._together(attempts_up_to)
        """What led to a generation."""
        self.earlier = self._together(earlier_versions)
        """What came before it, without the attempts."""
        self.publishing = self._together(publishing_seconds)
        """How long it took to publish it."""

    async def of(self, generation_id: UUID) -> FrameHistory | None:
        """What came before a generation; None where there is no such row."""
        return await self._whole.ask(generation_id)

    async def complete(self, frame: FrameFacts) -> FrameFacts:
        """A version with what came before it."""
        return with_history(frame, await self.of(UUID(frame.generation_id)))

    def _together(
        self, read: Callable[[Connection, Sequence[UUID]], Awaitable[dict[UUID, T]]]
    ) -> Together[UUID, T | None]:
        async def read_in_order(generation_ids: Sequence[UUID]) -> list[T | None]:
            async with self._services.pool.connection() as conn:
                found = await read(conn, generation_ids)
            return [found.get(generation_id) for generation_id in generation_ids]

        return Together(read_in_order, MAX_BATCH)


class ToldHistory:
    """What is told of one generation while it is made, from stage to stage.

    Each part is read once: what came before a generation does not change while it is made, since a
    scene has one at a time, and what the stages change is in its caller's hands.

    Args:
        histories: The run's.
    """

    def __init__(self, histories: FrameHistories) -> None:
        self._histories = histories
        self._attempts: Attempts | None = None
        self._earlier: FrameHistory | None = None

    async def attempts(self, generation: Generation) -> Attempts | None:
        """What led to it, the generation itself among it as it stands."""
        self._attempts = await self._histories.attempts.ask(generation.id)
        return self._attempts

    async def complete(self, frame: FrameFacts, generation: Generation) -> FrameFacts:
        """Its version with what came before it.

        Args:
            frame: The version that it stands for.
            generation: As it stands now.
        """
        if self._attempts is None:
            await self.attempts(generation)
        if self._earlier is None:
            self._earlier = await self._histories.earlier.ask(generation.id)
        elif generation.state == "published" and self._earlier.publishing_seconds is None:
            seconds = await self._histories.publishing.ask(generation.id)
            self._earlier = replace(self._earlier, publishing_seconds=seconds)
        if self._attempts is None or self._earlier is None:
            return frame
        own, *others = self._attempts.rows
        own = replace(
            own, state=generation.state, version=frame.version, error_code=generation.error_code
        )
        attempts = Attempts((own, *others), self._attempts.total)
        return with_history(frame, with_attempts(self._earlier, attempts))
