import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql

from scene_pipeline.database.migrations import (
    HEAD_REVISION,
    MigrationResult,
    migrate,
    schema_version,
)
from scene_pipeline.database.migrations.runner import DIRECTORY, KNOWN_REVISIONS, VERSION_TABLE
from scene_pipeline.errors import DatabaseError


def test_an_empty_database_is_brought_to_the_head(empty_database_url: str) -> None:
    assert schema_version(empty_database_url) is None
    assert migrate(empty_database_url) == MigrationResult(None, HEAD_REVISION)
    assert schema_version(empty_database_url) == HEAD_REVISION
    with psycopg.connect(empty_database_url) as connection:
        tables = connection.execute("SELECT to_regclass('scene_images') IS NOT NULL").fetchone()
    assert tables == (True,)


def test_migrating_again_changes_nothing(database_url: str) -> None:
    assert migrate(database_url) == MigrationResult(HEAD_REVISION, HEAD_REVISION)


def test_eight_processes_of_one_mind_migrate_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(migrate, [empty_database_url] * 8))
    assert [result.before for result in results].count(None) == 1
    assert {result.after for result in results} == {HEAD_REVISION}


def test_a_newer_database_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("UPDATE {} SET version_num = '9999'").format(sql.Identifier(VERSION_TABLE))
        )
    with pytest.raises(DatabaseError, match="schema 9999, which is newer") as caught:
        migrate(database_url)
    assert caught.value.error_code == "database_too_new"


def test_a_refused_statement_leaves_nothing_behind(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE scene_images (stranger int)")
    with pytest.raises(DatabaseError, match="already exists") as caught:
        migrate(empty_database_url)
    assert caught.value.error_code == "migration_failed"
    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert rows.fetchall() == [("scene_images",)]


def test_a_database_shared_with_another_alembic_user_keeps_its_version_table(
    empty_database_url: str,
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES ('dagsters-own')")
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("TABLE alembic_version").fetchall() == [("dagsters-own",)]


def test_an_up_to_date_database_costs_no_import_of_alembic(database_url: str) -> None:
    program = (
        "import sys; from scene_pipeline.database.migrations import migrate;"
        "migrate(sys.argv[1]); assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, database_url], check=True, timeout=60)


def test_the_numbers_of_the_files_are_alembics_chain() -> None:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [HEAD_REVISION]
    assert {script.revision for script in scripts.walk_revisions()} == set(KNOWN_REVISIONS)
