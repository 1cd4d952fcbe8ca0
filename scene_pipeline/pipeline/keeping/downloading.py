"""Downloads a picture and tells how much of it has arrived.

Belongs here: bringing what the fetcher says in its thread to whoever watches. Does not belong here:
where a picture can be had from (`pipeline.keeping.retrieve`), fetching itself (`media.fetch`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from scene_pipeline.media.fetch import FetchedBytes
from scene_pipeline.pipeline.services import Services

Tell = Callable[[str], Awaitable[None]]
"""Told what is being done, in words for people."""
TELL_SECONDS = 0.5
"""Shortest time between two words about bytes that arrive."""


async def download(services: Services, url: str, tell: Tell) -> FetchedBytes:
    """Fetch, telling now and then how much has arrived, and at the end that all of it has.

    Raises:
        FetchError: As `SafeFetcher.fetch`.
    """
    loop = asyncio.get_running_loop()
    said: Future[None] | None = None
    said_at = time.monotonic()

    async def say(received: int, total: int | None) -> None:
        await tell(received_words(received, total))

    def on_bytes(received: int, total: int | None) -> None:
        nonlocal said, said_at
        is_slow = said is not None and not said.done()
        if is_slow or time.monotonic() - said_at < TELL_SECONDS:
            return
        said_at = time.monotonic()
        said = asyncio.run_coroutine_threadsafe(say(received, total), loop)

    fetched = await services.call(services.fetcher.fetch, url, on_bytes=on_bytes)
    if said is not None:  # nothing about arriving bytes is told after what comes next
        await asyncio.wrap_future(said)
    await tell(received_words(len(fetched.data)))
    return fetched


def received_words(received: int, total: int | None = None) -> str:
    """How many bytes have arrived, of how many where that was announced."""
    of = "" if total is None else f" of {total:,}"
    return f"{received:,}{of} bytes received"
