"""The store of a process that has opened nothing yet.

Belongs here: the database that a store may lie in, for as long as the store is used. Does not
belong here: which store it is (`storage.registry`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.registry import build_store, parse_storage_url


@contextmanager
def opened_store(settings: Settings) -> Iterator[ObjectStore]:
    """The store that the settings ask for, closed at the end.

    For `database://` the database is attached to, and the embedded one is started for it.

    Raises:
        ConfigurationError: The storage URL or a setting of the store cannot be used.
        DatabaseError: The objects lie in a database that cannot be reached.
    """
    with ExitStack() as opened:
        database_url = None
        if parse_storage_url(settings.resolved_storage_url).kind == "database":
            from scene_pipeline.database.session import database_urls  # noqa: PLC0415 (psycopg)

            database_url = opened.enter_context(database_urls(settings)).application
        store = build_store(settings, database_url=database_url)
        opened.callback(store.close)
        yield store
