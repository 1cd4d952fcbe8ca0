"""A scene's place among the requests that are at one provider, whichever process sent them.

What is to be sent waits until a place is free. What was sent already is at the provider in any
case: it takes a place where there is one and is never held back, since results can expire within
minutes.

Belongs here: waiting. Does not belong here: the places themselves (`database.slots`).
"""

import asyncio
import random
import time
from types import TracebackType

from scene_pipeline.database.locks import NamedLock
from scene_pipeline.errors import AGAIN, BlockedError
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice

PAUSE_SECONDS = 0.5
"""Middle of the pauses between two questions for a place; they vary by half of it, so that many
processes do not ask in step."""


class PlaceAtProvider:
    """At most one place for one generation, given back at the end of the block.

    Args:
        context: Of the run.
        provider_name: Whose account has the places.
        voice: Told when the scene has to wait.
    """

    def __init__(self, context: RunContext, provider_name: str, voice: SceneVoice) -> None:
        self._context = context
        self._provider_name = provider_name
        self._voice = voice
        self._slot: NamedLock | None = None

    async def __aenter__(self) -> "PlaceAtProvider":
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            # Shielded: a cancelled run must not keep its place on a connection that lives on.
            await asyncio.shield(self._context.slots.give_back(slot))

    async def take_if_free(self) -> bool:
        """Take a place where there is one; whether one is held now, or none is needed.

        Raises:
            LedgerError: The connection that holds the run's locks is lost.
        """
        if self._slot is None and self._context.slots.is_limited:
            self._slot = await self._context.slots.try_take(self._provider_name)
        return self._slot is not None or not self._context.slots.is_limited

    async def take(self) -> None:
        """Wait for a place, as long as for a picture.

        Raises:
            BlockedError: code "provider_busy": none became free in time; nothing was sent.
            LedgerError: The connection that holds the run's locks is lost.
            ProviderError: The provider refuses everything meanwhile.
        """
        services = self._context.services
        patience = services.settings.generation_timeout_seconds
        give_up_at = time.monotonic() + patience
        is_told = False
        while not await self.take_if_free():
            if self._provider_name in self._context.stopped_by:
                raise self._context.stopped_by[self._provider_name]
            if not is_told:
                await self._voice.progress(
                    "waiting", f"waiting for a place at {self._provider_name}"
                )
                is_told = True
            if time.monotonic() >= give_up_at:
                message = (
                    f"Scene {self._voice.ref.scene_id} found no place at {self._provider_name} in"
                    f" {patience:.0f} s: {services.settings.provider_concurrency} requests of all"
                    " runs were there all the time."
                )
                raise BlockedError(
                    message,
                    code="provider_busy",
                    next_action=f"Run {AGAIN} when there is less to do, or raise"
                    " SCENE_PIPELINE_PROVIDER_CONCURRENCY.",
                    retryable=True,
                )
            await services.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311  # spreads load
