"""Work of which one at a time is enough: whoever comes second leaves it to the first.

A session lock on a connection of its own: a killed worker loses it at once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scene_pipeline.database.locks import GenerationLocks


@asynccontextmanager
async def turn(url: str, name: str) -> AsyncIterator[bool]:
    """Take the turn of that name for as long as the context lasts, if nobody has it.

    Args:
        url: The application's database.
        name: Of the work, such as "reconcile".

    Yields:
        Whether it is ours; otherwise another process is at it.
    """
    async with GenerationLocks.connect(url) as locks:
        yield await locks.try_acquire_one([f"upkeep:{name}"]) is not None
