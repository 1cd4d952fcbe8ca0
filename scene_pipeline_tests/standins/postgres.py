"""Real PostgreSQL for tests: one server per session, one fresh database per test.

The server is started by our own embedded package, in a temporary directory. With
SCENE_PIPELINE_TEST_DATABASE_URL (an administrator's URL) the tests use that server instead.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.locks import try_lock
from scene_pipeline.database.migrations import migrate
from scene_pipeline.database.urls import application_url

SERVER_VARIABLE = "SCENE_PIPELINE_TEST_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A server on which databases may be made and dropped."""

    admin_url: str
    connection: psycopg.Connection

    def url(self, database: str) -> str:
        return urlsplit(self.admin_url)._replace(path=f"/{database}").geturl()

    def create(self, template: str = "template0") -> str:
        """A fresh database; returns its name."""
        name = f"test_{uuid4().hex}"
        self.connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return name

    def drop(self, name: str) -> None:
        self.connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 15.0) -> None:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not come true in {timeout_seconds} s")
        time.sleep(0.02)


def is_supervised(home: Path) -> bool:
    """Whether a supervisor is there, on its way up or down included."""
    with embedded.Layout.of_home(home).supervisor_lock.open("rb") as file:
        return not try_lock(file.fileno(), "shared")


@contextmanager
def passable_directory() -> Iterator[Path]:
    """A temporary directory that PostgreSQL's own user can pass where the tests run as root.

    `tmp_path` is private to root, which the embedded server would (rightly) work around.
    """
    directory = Path(tempfile.mkdtemp(prefix="scene-pipeline-tests-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that all tests share."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        admin_url = application_url(given)
        with psycopg.connect(admin_url, autocommit=True) as connection:
            yield PostgresServer(admin_url, connection)
        return
    with passable_directory() as home:
        with embedded.attach(home, system_state=home / "system") as server:
            admin_url = server.url("postgres")
            with psycopg.connect(admin_url, autocommit=True) as connection:
                # Nothing here has to survive a power failure.
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
                yield PostgresServer(admin_url, connection)
        wait_until(lambda: not is_supervised(home))


@pytest.fixture(scope="session")
def database_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a migrated, otherwise empty database to copy from."""
    name = postgres_server.create()
    try:
        migrate(postgres_server.url(name))
        yield name
    finally:
        postgres_server.drop(name)


@pytest.fixture
def database_url(postgres_server: PostgresServer, database_template: str) -> Iterator[str]:
    """A fresh, migrated database of the test's own."""
    name = postgres_server.create(database_template)
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without any table."""
    name = postgres_server.create()
    yield postgres_server.url(name)
    postgres_server.drop(name)
