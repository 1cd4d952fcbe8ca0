"""Real PostgreSQL for tests: one server per session, one database per test that is as if fresh.

The server is started by our own embedded package, in a temporary directory. With
SCENE_PIPELINE_TEST_DATABASE_URL (an administrator's URL) the tests use that server instead.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.locks import try_lock
from scene_pipeline.database.migrations import migrate
from scene_pipeline.database.urls import application_url
from scene_pipeline_tests.waiting import wait_until

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


# What a test may have changed besides rows.
_SCHEMA = """
SELECT md5(string_agg(thing, ',' ORDER BY thing)) FROM (
    SELECT concat_ws(' ', c.oid::regclass, c.relkind, c.relnatts, c.reloptions, c.relowner,
            c.relacl)
        FROM pg_class c WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', attrelid::regclass, attname, atttypid, attnotnull, atthasdef)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE attnum > 0 AND relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', proname, prosrc, proacl) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT pg_get_viewdef(oid) FROM pg_class
        WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT setconfig::text FROM pg_db_role_setting
        JOIN pg_database d ON d.oid = setdatabase AND datname = current_database()) parts (thing)
"""
_TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
_MOST_BYTES = 4_000_000
"""A database that has grown by more is not worth emptying."""


@dataclass
class DatabasePool:
    """Databases that look like a template, used by one test after the other.

    To copy a template takes a quarter of a second, to empty a database a few milliseconds. One in
    which a test did more than change rows is dropped instead.
    """

    server: PostgresServer
    template: str
    _idle: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self._connect(self.template) as conn:
            self._schema = self._one(conn, _SCHEMA)
            tables = [row[0] for row in conn.execute(_TABLES)]
            self._kept = {name: rows for name in tables if (rows := self._rows(conn, name))}
            self._emptied = [name for name in tables if name not in self._kept]
            self._bytes = self._one(conn, "SELECT pg_database_size(current_database())")

    def take(self) -> str:
        """A database that is as the template is."""
        return self._idle.pop() if self._idle else self.server.create(self.template)

    def give_back(self, name: str) -> None:
        """Empty a database for the next test, or drop it."""
        if self._is_emptied(name):
            self._idle.append(name)
        else:
            self.server.drop(name)

    def close(self) -> None:
        """Drop what is left."""
        for name in self._idle:
            self.server.drop(name)

    def _is_emptied(self, name: str) -> bool:
        self.server.connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (name,),
        )
        try:
            with self._connect(name) as conn:
                if self._one(conn, _SCHEMA) != self._schema:
                    return False
                size = self._one(conn, "SELECT pg_database_size(current_database())")
                if size > self._bytes + _MOST_BYTES:
                    return False
                conn.execute("SET session_replication_role = replica")
                for table in self._emptied:
                    conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                conn.execute(
                    "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass,"
                    " start_value, false) FROM pg_sequences WHERE last_value IS NOT NULL"
                )
                return all(self._rows(conn, name) == rows for name, rows in self._kept.items())
        except psycopg.Error:
            return False

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.server.url(name), autocommit=True)

    @staticmethod
    def _one(conn: psycopg.Connection, query: LiteralString) -> Any:
        row = conn.execute(query).fetchone()
        assert row is not None
        return row[0]

    @staticmethod
    def _rows(conn: psycopg.Connection, table: str) -> list[str]:
        query = sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(table))
        return [row[0] for row in conn.execute(query)]


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


@pytest.fixture(scope="session")
def database_pool(
    postgres_server: PostgresServer, database_template: str
) -> Iterator[DatabasePool]:
    """Migrated databases."""
    pool = DatabasePool(postgres_server, database_template)
    yield pool
    pool.close()


@pytest.fixture
def database_url(postgres_server: PostgresServer, database_pool: DatabasePool) -> Iterator[str]:
    """A migrated database of the test's own, without a row in it."""
    name = database_pool.take()
    yield postgres_server.url(name)
    database_pool.give_back(name)


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without any table."""
    name = postgres_server.create()
    yield postgres_server.url(name)
    postgres_server.drop(name)
