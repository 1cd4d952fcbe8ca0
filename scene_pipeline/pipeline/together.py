"""Many small questions in one statement: whatever arrives while one runs goes with the next.

The first to arrive does not wait for company, so that a single scene is never held up; of 500 kept
scenes that are judged at once each statement serves as many as there are workers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_TOGETHER = 200
"""Items of one statement."""


class Together(Generic[Item, Result]):
    """Does work for several callers at once; for one event loop.

    Args:
        work: Gives one result per item, in their order; what it raises is raised to all of them.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._turn = asyncio.Lock()

    async def ask(self, item: Item) -> Result:
        """Give an item's result, worked out along with those that wait at the same time."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        try:
            async with self._turn:
                # Whoever had the turn before may have taken this item along.
                while not future.done():
                    await self._work_on_a_batch()
            return await future
        finally:
            future.cancel()  # of a caller that was cut off; nobody works for it any more

    async def _work_on_a_batch(self) -> None:
        batch, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
        batch = [entry for entry in batch if not entry[1].done()]
        try:
            results = await self._work([item for item, _ in batch])
        except asyncio.CancelledError:
            # Only this caller was cut off, as far as is known here: the others go on.
            self._waiting[:0] = batch
            raise
        except Exception as error:  # noqa: BLE001  # raised again, to every caller
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
