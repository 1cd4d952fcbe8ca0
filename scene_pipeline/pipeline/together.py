"""Many small questions in one statement: whatever arrives while one runs goes with the next.

The first to arrive takes along who got ready in the same instant and, unless it is told to wait for
company, waits for nobody else, so that a single scene is never held up; of 500 kept scenes each
statement serves as many as there are workers. There is no task of its own: the first to ask works
for all that wait, so that nothing outlives a run that is cut off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_TOGETHER = 200
"""Items of one statement."""


async def this_instant() -> None:
    """Wait for those who get ready in this instant, and for nobody else."""
    await asyncio.sleep(0)


class Together(Generic[Item, Result]):
    """Does work for several callers at once; for one event loop.

    Args:
        work: Gives one result per item, in their order; what it raises is raised to all of them.
        most: Items of one statement.
        company: What the first to arrive waits for.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        most: int = MAX_TOGETHER,
        company: Callable[[], Awaitable[None]] = this_instant,
    ) -> None:
        self._work = work
        self._most = most
        self._company = company
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._turn = asyncio.Lock()

    async def ask(self, item: Item) -> Result:
        """Give an item's result, worked out along with those that wait at the same time."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        try:
            async with self._turn:
                # Whoever had the turn before may have taken this item along.
                if not future.done():
                    await self._company()
                while not future.done():
                    await self._work_on_a_batch()
            return await future
        finally:
            future.cancel()  # of a caller that was cut off; nobody works for it any more

    async def _work_on_a_batch(self) -> None:
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
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
