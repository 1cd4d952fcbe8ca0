"""How many requests may be at one provider at once, counted across all processes.

A slot is a session advisory lock, on the connection that holds the process's generation locks: a
killed process gives its slots back at once, and where the connection is lost, the slots and the
right to post are lost together (`GenerationLocks.assert_held` is asked before every payment).

Belongs here: taking a slot and giving it back. Does not belong here: waiting for one
(`pipeline.making.slots`).
"""

import asyncio
import random
from collections import defaultdict

from scene_pipeline.database.locks import GenerationLocks, NamedLock


class ProviderSlots:
    """The slots that one process holds.

    Args:
        locks: Of this process.
        limit: Slots per provider, for all processes together; 0 for no limit. Processes with
            different settings share the slots that both know.
    """

    def __init__(self, locks: GenerationLocks, limit: int) -> None:
        self._locks = locks
        self._limit = limit
        self._held: dict[str, NamedLock] = {}
        # What is held has to be known before the next one is asked for.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to take."""
        return self._limit > 0

    async def try_take(self, provider: str) -> NamedLock | None:
        """Take a slot where one is free.

        Raises:
            LedgerError: code "lock_lost": the connection that holds the locks is lost.
        """
        async with self._turns[provider]:
            names = [f"slot:{provider}:{number}" for number in range(self._limit)]
            free = [name for name in names if not self._is_held(name)]
            # Processes that all begin with the first slot would try each other's in turn.
            random.shuffle(free)
            slot = await self._locks.try_acquire_one(free) if free else None
            if slot is not None:
                self._held[slot.name] = slot
            return slot

    async def give_back(self, slot: NamedLock) -> None:
        """Free a slot; one that was lost with its connection is free already."""
        await self._locks.release_one(slot)
        if self._held.get(slot.name) is slot:
            del self._held[slot.name]

    def _is_held(self, name: str) -> bool:
        slot = self._held.get(name)
        return slot is not None and self._locks.is_standing(slot)
