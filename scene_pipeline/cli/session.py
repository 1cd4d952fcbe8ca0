"""What most commands open: the settings, the database, one connection.

Belongs here: opening in the right order, and telling a lost database in one sentence. Does not
belong here: Dagster's side (`cli.dagster_home`).
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.errors import UsageError

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.database.session import DatabaseUrls
    from scene_pipeline.settings import Settings

T = TypeVar("T")


@contextmanager
def open_databases(settings: "Settings", terminal: Terminal) -> "Iterator[DatabaseUrls]":
    """Start or reach the databases and bring ours to the schema of this version.

    Args:
        settings: Of this process.
        terminal: Where the wait for a first start is told.

    Raises:
        DatabaseError: Unreachable, too old, too new, or a migration was refused.
    """
    from scene_pipeline.database.migrations import migrate  # noqa: PLC0415  # psycopg
    from scene_pipeline.database.session import database_urls  # noqa: PLC0415

    with ExitStack() as claims:
        with terminal.waiting("Opening the database"):
            urls = claims.enter_context(database_urls(settings))
            migrate(urls.application)
        yield urls


def in_database(url: str, work: "Callable[[Connection], Awaitable[T]]") -> T:
    """Do some work on one connection, outside of a transaction at its begin.

    Raises:
        DatabaseError: The connection was lost.
        UsageError: An argument holds bytes that are no text.
    """
    from scene_pipeline.database import session  # noqa: PLC0415

    with database_in_words():
        return session.in_database(url, work)


@contextmanager
def database_in_words() -> Iterator[None]:
    """Tell a lost database, and what it cannot be asked, in one sentence.

    Raises:
        DatabaseError: The connection was lost.
        UsageError: An argument holds bytes that are no text.
    """
    from scene_pipeline.database.session import lost_in_words  # noqa: PLC0415  # psycopg

    try:
        with lost_in_words():
            yield
    except UnicodeEncodeError as error:
        raise UsageError(
            "An argument holds bytes that are no text.",
            code="usage",
            next_action="Type it in UTF-8, or copy it from what the program shows.",
        ) from error
