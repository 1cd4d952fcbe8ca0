"""The parts that the library's routes work with, opened when the first request needs them.

Mode of operation: the server starts without the database, and frames are served without it. While
it cannot be reached, requests are answered at once, and it is tried again every few seconds.

Belongs here: opening and closing. Does not belong here: what is done with the parts (`pipeline`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from scene_pipeline.api.errors import RETRY_SECONDS, database_down
from scene_pipeline.database.migrations import migrate
from scene_pipeline.database.session import database_urls
from scene_pipeline.errors import DatabaseError
from scene_pipeline.pipeline.services import Services, open_services
from scene_pipeline.settings import Settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

CONNECTION_SECONDS = 5.0
"""How long a request waits for a connection; the stream of frames, which may wait longer, has a
pool of its own."""


class LibraryServices:
    """The parts of one server.

    Args:
        settings: Of this process.
        is_ending: Whether the server is about to stop.
    """

    def __init__(
        self, settings: Settings, *, is_ending: Callable[[], bool] = lambda: False
    ) -> None:
        self.settings = settings
        self.is_ending = is_ending
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._services: Services | None = None
        self._down_until = 0.0

    async def get(self) -> Services:
        """The parts, opened now where they are not.

        Raises:
            DatabaseError: The database cannot be reached.
            ConfigurationError: A setting cannot be used.
        """
        async with self._opening:
            if self._services is None:
                now = asyncio.get_running_loop().time()
                if now < self._down_until:
                    raise database_down()
                try:
                    self._services = await self._open()
                except DatabaseError:
                    self._down_until = asyncio.get_running_loop().time() + RETRY_SECONDS
                    raise
            return self._services

    @asynccontextmanager
    async def connection(self) -> "AsyncIterator[Connection]":
        """A connection of the pool, for as long as the block lasts.

        Raises:
            DatabaseError: The database cannot be reached.
        """
        services = await self.get()
        async with services.pool.connection() as conn:
            yield conn

    async def close(self) -> None:
        """Close what was opened; the parts are not used afterwards."""
        async with self._opening:
            self._services = None
            await self._stack.aclose()

    async def _open(self) -> Services:
        async with AsyncExitStack() as opened:
            databases = ExitStack()
            opened.push_async_callback(run_sync, databases.close)
            # The embedded server may have to start first; a server of the user's is looked at.
            urls = await run_sync(databases.enter_context, database_urls(self.settings))
            await run_sync(migrate, urls.application)
            # A store of its own: the frame server's must outlive this.
            services = await opened.enter_async_context(
                open_services(self.settings, urls.application)
            )
            services.pool.timeout = CONNECTION_SECONDS
            self._stack = opened.pop_all()
        return services
