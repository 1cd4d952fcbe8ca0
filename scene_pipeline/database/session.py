"""Which database is used, and connections to it.

Belongs here: the choice between the embedded server and the user's, reachability, and the settings
that every connection of the application gets. Does not belong here: SQL of the application.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.layout import APPLICATION_DATABASE, DAGSTER_DATABASE
from scene_pipeline.database.urls import application_url, dagster_url, redacted
from scene_pipeline.errors import ConfigurationError, DatabaseError
from scene_pipeline.settings import Settings

T = TypeVar("T")

MINIMUM_MAJOR = 15
CONNECT_TIMEOUT_SECONDS = 4
"""Per address; a person waits for the sentence that says the database is down."""
POOL_TIMEOUT_SECONDS = 30.0
MAX_WAITING = 4096
"""Callers that may queue for a connection; far above what the stream's own bounds allow."""

PARAMETERS: dict[str, str | int] = {
    "application_name": "scene-pipeline",
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    # A silently dropped connection is noticed within a minute.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""What every connection is opened with, where the URL does not say otherwise."""

_LIMITS = (
    "SELECT set_config('lock_timeout', '5s', false),"
    " set_config('statement_timeout', '30s', false),"
    " set_config('idle_in_transaction_session_timeout', '60s', false)"
)


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """The databases of this process. The URLs hold passwords: never for a log."""

    application: str = field(repr=False)
    """`postgresql://...`, for psycopg 3."""
    dagster: str = field(repr=False)
    """`postgresql+psycopg2://...`, for Dagster's instance."""
    description: str
    """What may be shown: which server, and where."""


@contextmanager
def database_urls(settings: Settings) -> Iterator[DatabaseUrls]:
    """Make the databases available for as long as the context lasts.

    The embedded server is started when DATABASE_URL is not set, and stops some time after its last
    user. A server of the user's is only looked at: one that is down is told within seconds.

    Raises:
        DatabaseError: Unreachable, too old, or it cannot be started.
        ConfigurationError: A URL is malformed.
    """
    given_dagster = settings.dagster_database_url
    if given_dagster is not None:
        check_server(given_dagster)
    if settings.database_url is not None:
        version = check_server(settings.database_url)
        yield DatabaseUrls(
            application=application_url(settings.database_url),
            dagster=dagster_url(given_dagster or settings.database_url),
            description=f"PostgreSQL {version} at {redacted(settings.database_url)}",
        )
        return
    with embedded.attach(settings.home_directory) as server:
        yield DatabaseUrls(
            application=server.url(APPLICATION_DATABASE),
            dagster=dagster_url(given_dagster or server.url(DAGSTER_DATABASE)),
            description=f"PostgreSQL {server.version}, embedded in {_short(server.location)}",
        )


def open_pool(url: str, *, max_size: int = 8) -> AsyncConnectionPool[AsyncConnection[DictRow]]:
    """A pool for the application, to be opened by `async with`.

    Connections give rows as dicts, are not in autocommit, and have limits: 5 s for a lock, 30 s for
    a statement, 60 s idle within a transaction.

    Args:
        url: `postgresql://...`.
        max_size: Most connections at a time.

    Raises:
        ConfigurationError: The URL is malformed.
    """
    return AsyncConnectionPool(
        _connection_string(url),
        kwargs={"row_factory": dict_row},
        connection_class=AsyncConnection[DictRow],
        min_size=1,
        max_size=max_size,
        open=False,
        configure=_set_limits,
        timeout=POOL_TIMEOUT_SECONDS,
        max_waiting=MAX_WAITING,
        name="scene-pipeline",
    )


@contextmanager
def connect(url: str, *, autocommit: bool = False) -> Iterator[psycopg.Connection[DictRow]]:
    """One synchronous connection, for what happens outside the stream.

    It has no limit on statements; the transaction is committed at the end of the context, or rolled
    back by an error.

    Raises:
        DatabaseError: It cannot be reached.
        ConfigurationError: The URL is malformed.
    """
    address = _connection_string(url)
    try:
        connection = psycopg.connect(address, autocommit=autocommit, row_factory=dict_row)
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"The database {redacted(url)} cannot be reached: {_reason(error)}.",
            next_action="Start it, or correct DATABASE_URL or DAGSTER_DATABASE_URL; without them "
            "the embedded server is used.",
        ) from error
    with connection:
        yield connection


def in_database(url: str, work: Callable[[AsyncConnection[DictRow]], Awaitable[T]]) -> T:
    """Do some work on one connection of the application's kind, from synchronous code.

    The connection is opened for it directly: a pool goes on trying for half a minute while the
    server is down, and starts three tasks for one connection.

    Args:
        url: `postgresql://...`.
        work: Called outside of a transaction; what it leaves open is committed at the end.

    Raises:
        psycopg.OperationalError: The database could not be reached within seconds, or was lost.
        ConfigurationError: The URL is malformed.
    """

    async def connected() -> T:
        async with await AsyncConnection[DictRow].connect(
            _connection_string(url), row_factory=dict_row
        ) as conn:
            await _set_limits(conn)
            return await work(conn)

    return asyncio.run(connected())


@contextmanager
def lost_in_words() -> Iterator[None]:
    """Tell a database that stops answering with code, sentence and next action.

    Raises:
        DatabaseError: The connection was lost, or did not come about.
    """
    try:
        yield
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"The database stopped answering: {_reason(error)}.",
            next_action="See that it runs (`scene-pipeline doctor`), then go on: nothing that was"
            " recorded is lost.",
        ) from error


def check_server(url: str) -> str:
    """Reach a server and check that it can be worked with.

    Returns:
        Its version, "18.4".

    Raises:
        DatabaseError: Unreachable, or older than PostgreSQL 15.
        ConfigurationError: The URL is malformed.
    """
    with connect(url, autocommit=True) as connection:
        number = connection.info.server_version
    version = f"{number // 10000}.{number % 10000}"
    if number // 10000 < MINIMUM_MAJOR:
        raise DatabaseError(
            f"The database {redacted(url)} is PostgreSQL {version}; {MINIMUM_MAJOR} is the oldest "
            "that works.",
            code="database_version_unsupported",
            next_action="Use PostgreSQL 15 to 18, or unset DATABASE_URL for the embedded server.",
        )
    return version


def _connection_string(url: str) -> str:
    address = application_url(url)
    try:
        return make_conninfo(address, **{**PARAMETERS, **conninfo_to_dict(address)})
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            f"The database URL {redacted(url)} has a part that PostgreSQL does not know.",
            code="database_url_invalid",
            next_action="Keep to the parameters of libpq, such as ?sslmode=require.",
        ) from error


async def _set_limits(connection: AsyncConnection[DictRow]) -> None:
    # By statement rather than by start-up options, which connection poolers refuse.
    await connection.execute(_LIMITS)
    await connection.commit()


def _reason(error: psycopg.Error) -> str:
    text = str(error)
    said = re.findall(r"(?:FATAL:\s*|failed: )(?!FATAL|connection )(.+)", text)
    reason = (said or text.splitlines() or ["no answer"])[-1].strip().rstrip(".")
    return re.sub(r"\[Errno -?\d+\] ", "", reason)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
