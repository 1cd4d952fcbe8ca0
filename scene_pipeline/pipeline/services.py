"""Everything the use cases are given: opened once per process, closed in order.

Belongs here: putting the parts together. Does not belong here: what is done with them.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from scene_pipeline.database.session import open_pool
from scene_pipeline.egress import tls_context
from scene_pipeline.errors import DatabaseError
from scene_pipeline.media.fetch import FetchLimits, SafeFetcher
from scene_pipeline.media.workers import ImageWorkers
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline.pipeline.prices import load_prices
from scene_pipeline.providers.base import ImageProvider
from scene_pipeline.providers.prices import PriceTable
from scene_pipeline.providers.registry import build_provider, result_hosts
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.registry import build_store

P = ParamSpec("P")
T = TypeVar("T")
OPEN_TIMEOUT_SECONDS = 15.0
"""How long the first connection may take; whoever calls has looked at the server just before."""


@dataclass
class Services:
    """The parts a use case works with; time is a part like any other."""

    settings: Settings
    database_url: str
    pool: AsyncConnectionPool[AsyncConnection[DictRow]]
    store: ObjectStore
    fetcher: SafeFetcher
    workers: ImageWorkers
    prices: PriceTable
    threads: ThreadPoolExecutor
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    day_budget: str = "all"
    """Key of the day budget that payments are booked on; a drill has one of its own."""
    _providers: dict[str, ImageProvider] = field(default_factory=dict)

    def provider(self, name: str) -> ImageProvider:
        """The provider of that name, built when it is first asked for.

        Raises:
            ConfigurationError: Unknown, or its key is missing.
        """
        if name not in self._providers:
            self._providers[name] = build_provider(name, self.settings)
        return self._providers[name]

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in the bounded threads, so that the loop never waits for it.

        What the call logs names the same project, scene and run as its caller.
        """
        loop = asyncio.get_running_loop()
        here = contextvars.copy_context()
        return await loop.run_in_executor(self.threads, lambda: here.run(function, *args, **kwargs))

    def close_parts(self) -> None:
        """Close what holds connections or processes."""
        for provider in self._providers.values():
            provider.close()
        self.workers.close()
        self.fetcher.close()
        self.store.close()


@asynccontextmanager
async def open_services(
    settings: Settings,
    database_url: str,
    *,
    store: ObjectStore | None = None,
    providers: Mapping[str, ImageProvider] | None = None,
    download_seconds: float = 60.0,
) -> AsyncIterator[Services]:
    """Open the database pool and build the rest; nothing is fetched, drawn or paid by it.

    Args:
        settings: Of this process.
        database_url: Of the application's database, migrated.
        store: Where frames go; built from the settings when left out.
        providers: Used under these names; every other one is built when it is first asked for.
        download_seconds: Longest time that one download may take.

    Raises:
        UsageError: A setting cannot be used or the database cannot be reached.
    """
    arm(settings.failpoint)
    context = tls_context(settings.ssl_cert_file)
    shipped_prices = PriceTable.load(settings.prices_file)  # refused here, before anything is open
    # One thread per place where a blocking call can be under way, so that no stage starves another.
    thread_count = (
        settings.download_concurrency
        + settings.upload_concurrency
        + settings.decode_workers
        + min(settings.generation_concurrency, 16)
    )
    threads = ThreadPoolExecutor(thread_count, thread_name_prefix="scene-pipeline")
    pool = open_pool(database_url)
    services = Services(
        settings=settings,
        database_url=database_url,
        pool=pool,
        store=store or build_store(settings, database_url=database_url),
        fetcher=SafeFetcher(
            allowlist=result_hosts(settings),
            trusted_private_hosts=settings.trusted_private_hosts,
            tls_context=context,
            egress_proxy=settings.egress_proxy,
            limits=FetchLimits(
                max_bytes=settings.asset_max_image_mb * 2**20, total_seconds=download_seconds
            ),
        ),
        workers=ImageWorkers(settings.decode_workers),
        prices=shipped_prices,
        threads=threads,
        _providers=dict(providers or {}),
    )
    try:
        async with pool:
            await _wait_for_database(pool)
            async with pool.connection() as conn:
                services.prices = await load_prices(conn, settings)
            yield services
    finally:
        services.close_parts()
        threads.shutdown(wait=False, cancel_futures=True)


async def _wait_for_database(pool: AsyncConnectionPool[AsyncConnection[DictRow]]) -> None:
    try:
        await pool.wait(timeout=OPEN_TIMEOUT_SECONDS)
    except PoolTimeout as error:
        raise DatabaseError(
            f"The database gave no connection within {OPEN_TIMEOUT_SECONDS:.0f} s.",
            next_action="Start it, or run `scene-pipeline doctor` to see what is wrong.",
        ) from error
