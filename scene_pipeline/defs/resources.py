"""The one resource: what the assets need to reach the use cases.

Belongs here: how Dagster hands settings, database and stores to the ops, and for how long. Does
not belong here: what is done with them (`pipeline`).

Nothing is read or opened when the resource is built: the environment and the database are looked
at when a run or a sensor's tick begins, so that a bad variable fails that run with its reason and
never the code location.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from scene_pipeline.defs.interruptions import hearing_interruptions
from scene_pipeline.pipeline.orders import FrameOrder, StreamEvent
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.registry import build_store, parse_storage_url
from scene_pipeline.telemetry.logs import set_up

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from scene_pipeline.database.rows import Connection
    from scene_pipeline.pipeline.inbox.report import InboxReport
    from scene_pipeline.pipeline.library.import_events import ImportEvent
    from scene_pipeline.pipeline.making.background import BackgroundStream
    from scene_pipeline.pipeline.reporting.storyboard import StoryboardFacts
    from scene_pipeline.pipeline.services import Services
    from scene_pipeline.storage.s3_client import S3Patience

T = TypeVar("T")

Observer = Callable[[StreamEvent], None]
"""Called in the run's thread for every event of the stream; must return at once."""
ImportObserver = Callable[["ImportEvent"], None]
"""Likewise, for what imports tell."""


@dataclass(frozen=True, slots=True)
class PipelineRuntime:
    """What an op or sensor is handed: settings, a database that answers, and the use cases.

    A plain object of this class may be given to `build_definitions(resources=...)` in place of the
    resource; that is how a command that runs in this process watches the stream.
    """

    settings: Settings
    database_url: str
    observer: Observer | None = None
    import_observer: ImportObserver | None = None
    on_interruption: Callable[[], None] | None = None
    """Told in a thread of its own when the process is interrupted while a stream works."""
    is_at_terminal: bool = False
    """Whether a command executes the run in its own process, so that Ctrl-C is a person's."""

    def open_stream(self, order: FrameOrder) -> "BackgroundStream":
        """Start working on an order in a thread with a loop of its own; close it when done."""
        from scene_pipeline.pipeline.making.background import BackgroundStream  # noqa: PLC0415  # heavy

        return BackgroundStream(order, self.settings, self.database_url, store=self._store())

    @contextmanager
    def stopping_at_once(self, stop: Callable[[], None]) -> Iterator[threading.Event]:
        """Stop something the moment the process is interrupted, and tell whoever watches.

        Yields:
            What is set then.
        """

        def act() -> None:
            stop()
            if self.on_interruption is not None:
                self.on_interruption()

        with hearing_interruptions(act) as heard:
            yield heard

    def observe(self, event: StreamEvent) -> None:
        """Tell the observer, where there is one."""
        if self.observer is not None:
            self.observer(event)

    def observe_import(self, event: "ImportEvent") -> None:
        """Tell whoever watches imports, where there is somebody."""
        if self.import_observer is not None:
            self.import_observer(event)

    def make_storyboard(self, project_key: str, run_id: str) -> "StoryboardFacts":
        """Draw, store and record the contact sheet of a project."""
        from scene_pipeline.pipeline.reporting.storyboard import make_storyboard  # noqa: PLC0415  # heavy

        return self.with_services(
            lambda services: make_storyboard(project_key, services, run_id=run_id)
        )

    def in_database(self, work: "Callable[[Connection], Awaitable[T]]") -> "T":
        """Do some work on one connection, as a sensor's tick does.

        Raises:
            DatabaseError: It cannot be read: the tick fails visibly, for a database that is down
                must never look like one in which nothing is due.
        """
        from scene_pipeline.database.session import in_database, lost_in_words  # noqa: PLC0415  # psycopg

        with lost_in_words():
            return in_database(self.database_url, work)

    def with_services(self, work: "Callable[[Services], Awaitable[T]]") -> "T":
        """Do some work with everything a use case is given, as an op of upkeep does.

        Raises:
            DatabaseError: The database was lost.
        """
        from scene_pipeline.database.session import lost_in_words  # noqa: PLC0415  # psycopg
        from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy

        async def opened() -> "T":
            async with open_services(
                self.settings, self.database_url, store=self._store()
            ) as services:
                return await work(services)

        with lost_in_words():
            return asyncio.run(opened())

    def each_with_services(
        self, work: "Callable[[Services], AsyncGenerator[T, None]]"
    ) -> "Generator[T, None, None]":
        """As `with_services`, for work that comes in parts; it stands still while one is used.

        Raises:
            DatabaseError: The database was lost.
        """
        from scene_pipeline.database.session import lost_in_words  # noqa: PLC0415  # psycopg
        from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy

        async def opened() -> "AsyncGenerator[T, None]":
            async with (
                open_services(self.settings, self.database_url, store=self._store()) as services,
                aclosing(work(services)) as found,
            ):
                async for part in found:
                    yield part

        async def next_part() -> "list[T]":
            async for part in parts:
                return [part]
            return []

        async def close() -> None:
            await parts.aclose()

        parts = opened()
        with lost_in_words(), asyncio.Runner() as runner:
            try:
                while part := runner.run(next_part()):
                    yield from part
            finally:
                runner.run(close())

    def stale_storyboards(self, limit: int) -> Sequence[tuple[str, str]]:
        """Projects whose frames changed since their last sheet, with a fingerprint of them."""
        from scene_pipeline.database.storyboards import projects_with_stale_storyboards  # noqa: PLC0415

        return projects_with_stale_storyboards(self.database_url, limit)

    def watch_inbox(self) -> "InboxReport | None":
        """Import what is new in the inbox and write back what changed; None where none is set."""
        from scene_pipeline.pipeline.inbox.setting import open_inbox  # noqa: PLC0415
        from scene_pipeline.pipeline.inbox.watch import watch_inbox  # noqa: PLC0415  # psycopg

        source = open_inbox(self.settings, self._s3_client)
        if source is None:
            return None
        with closing(source):
            return self.in_database(lambda conn: watch_inbox(conn, self.settings, source))

    def _store(self) -> ObjectStore | None:
        """The S3 store, on dagster-aws's resource; None leaves other stores to the settings."""
        if parse_storage_url(self.settings.resolved_storage_url).kind != "s3":
            return None
        return build_store(self.settings, s3_client=self._s3_client())

    def _s3_client(self, patience: "S3Patience | None" = None) -> "S3Client":
        """A client of what dagster-aws's resource makes of the settings."""
        from dagster_aws.s3 import S3Resource  # noqa: PLC0415  # 0.5 s of CPU

        from scene_pipeline.storage.s3_client import S3Connection, build_s3_client  # noqa: PLC0415

        resource = S3Resource(
            endpoint_url=self.settings.s3_endpoint_url,
            region_name=self.settings.s3_region,
            aws_access_key_id=self.settings.s3_access_key_id,
            aws_secret_access_key=self.settings.s3_secret_access_key,
        )
        # Its own client takes no checksum mode, CA file or proxy: these are set in one place.
        connection = S3Connection(
            endpoint_url=resource.endpoint_url,
            region_name=resource.region_name,
            access_key_id=resource.aws_access_key_id,
            secret_access_key=resource.aws_secret_access_key,
            session_token=resource.aws_session_token,
            profile_name=resource.profile_name,
        )
        return build_s3_client(self.settings, connection, patience)


class PipelineResource(dg.ConfigurableResource[PipelineRuntime]):
    """Settings and database of this deployment, read from the environment when a run begins.

    Where DATABASE_URL is not set, the embedded server is attached to, and stays up for as long as
    the run holds it.
    """

    @contextmanager
    def yield_for_execution(
        self,
        context: dg.InitResourceContext,  # noqa: ARG002  # Dagster's signature
    ) -> Generator[PipelineRuntime, None, None]:
        """Attach to the database for as long as the run or tick lasts."""
        from scene_pipeline.database.session import database_urls  # noqa: PLC0415  # psycopg

        settings = load_settings()
        set_up(settings)
        with database_urls(settings) as urls:
            yield PipelineRuntime(settings=settings, database_url=urls.application)
