"""Reads what came before a run's frames, for many scenes in one statement.

Belongs here: gathering the scenes that ask at the same time. Does not belong here: the statement
(`database.frame_history`).
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database.frame_history import FrameHistory, frame_histories
from scene_pipeline.pipeline.frame_history import with_history
from scene_pipeline.pipeline.orders import FrameFacts
from scene_pipeline.pipeline.services import Services

MAX_BATCH = 100
"""Generations per statement: bounds what is held of their earlier pictures."""


@dataclass(eq=False)
class _Question:
    generation_id: UUID
    answer: FrameHistory | None = None
    is_answered: bool = False


class FrameHistories:
    """One run's way to ask; whoever asks while a statement runs is answered by the next one.

    A scene waits for its own answer only. There is no task of its own: the first to ask reads for
    all that wait, so that nothing outlives a run that is cut off.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: list[_Question] = []
        self._turn = asyncio.Lock()

    async def of(self, generation_id: UUID) -> FrameHistory | None:
        """What came before a generation; None where there is no such row."""
        question = _Question(generation_id)
        self._open.append(question)
        try:
            async with self._turn:
                await asyncio.sleep(0)  # whoever got ready in this instant asks along
                while not question.is_answered:
                    await self._answer()
        finally:
            if not question.is_answered:
                self._open.remove(question)
        return question.answer

    async def complete(self, frame: FrameFacts) -> FrameFacts:
        """A version with what came before it."""
        return with_history(frame, await self.of(UUID(frame.generation_id)))

    async def _answer(self) -> None:
        batch = self._open[:MAX_BATCH]
        async with self._services.pool.connection() as conn:
            found = await frame_histories(conn, [question.generation_id for question in batch])
        for question in batch:
            question.answer = found.get(question.generation_id)
            question.is_answered = True
            if question in self._open:  # its scene may have been cut off meanwhile
                self._open.remove(question)
