"""Bringing a database to the schema of this version of the program.

Mode of operation: called at the start of every command that uses the database. A database that is
up to date costs one query; Alembic and SQLAlchemy (0.3 s of imports) are loaded only to migrate.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from scene_pipeline.database.session import connect
from scene_pipeline.database.urls import alembic_url, redacted
from scene_pipeline.errors import DatabaseError

VERSION_TABLE = "scene_pipeline_schema"
"""Our own name, so that the database may be shared with Dagster, which uses Alembic's default."""
DIRECTORY = Path(__file__).parent
KNOWN_REVISIONS = tuple(
    sorted(path.stem.split("_")[0] for path in (DIRECTORY / "versions").glob("[0-9]*.py"))
)
HEAD_REVISION = KNOWN_REVISIONS[-1]
LOCK_PATIENCE_SECONDS = 60
"""How long to wait for another process that is migrating, or for a table that is in use."""
_ALEMBIC = threading.Lock()
"""Alembic keeps its context in globals: one migration at a time in a process."""


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a migration did; `before == after` where there was nothing to do."""

    before: str | None
    """Revision found, None in a database without our schema."""
    after: str
    """Revision now."""


def schema_version(url: str) -> str | None:
    """The revision of our schema in a database; None where there is none.

    Raises:
        DatabaseError: The database cannot be reached, or is newer than this program.
    """
    with connect(url, autocommit=True) as connection:
        return _known_revision(connection, url)


def migrate(url: str) -> MigrationResult:
    """Apply what is missing, once, whoever else tries at the same time.

    Args:
        url: The application's database.

    Raises:
        DatabaseError: Unreachable; newer than this program (`database_too_new`); or a statement was
            refused (`migration_failed`), and then nothing was changed.
    """
    with connect(url, autocommit=True) as connection:
        before = _known_revision(connection, url)
    if before == HEAD_REVISION:
        return MigrationResult(before, before)
    return _upgrade(url, before)


def _known_revision(connection: psycopg.Connection[Any], url: str) -> str | None:
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [VERSION_TABLE]).fetchone()
        if row is None or not row[0]:
            return None
        row = cursor.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    revision = str(row[0]) if row else None
    if revision is not None and revision not in KNOWN_REVISIONS:
        raise DatabaseError(
            f"The database {redacted(url)} has schema {revision}, which is newer than this version "
            f"of Scene Pipeline knows ({HEAD_REVISION}).",
            code="database_too_new",
            next_action="Upgrade Scene Pipeline to the version that last used this database.",
        )
    return revision


def _upgrade(url: str, found: str | None) -> MigrationResult:
    """Run Alembic in one transaction, under a lock that ends with it."""
    from alembic import command  # noqa: PLC0415  # 0.3 s, and rarely needed
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine, pool, text  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = create_engine(alembic_url(url), poolclass=pool.NullPool)
    try:
        with _ALEMBIC, engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE_SECONDS}s'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock(hashtext('{VERSION_TABLE}'))"))
            # Asked again: whoever had the lock before us may have done the work.
            driver_connection = connection.connection.driver_connection
            before = _known_revision(driver_connection, url) if driver_connection else None
            if before != HEAD_REVISION:
                config.attributes["connection"] = connection
                command.upgrade(config, HEAD_REVISION)
    except DBAPIError as error:
        raise DatabaseError(
            f"The schema of {redacted(url)} could not be brought from {found or 'nothing'} to "
            f"{HEAD_REVISION}: {str(error.orig).splitlines()[0]}.",
            code="migration_failed",
            next_action="Nothing was changed. The user needs the right to create tables, and no "
            "other program may keep them locked.",
        ) from error
    return MigrationResult(before, HEAD_REVISION)
