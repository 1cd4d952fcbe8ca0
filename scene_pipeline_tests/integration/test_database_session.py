import asyncio
import socket
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from scene_pipeline.database.rows import Connection
from scene_pipeline.database.session import (
    check_server,
    connect,
    database_urls,
    in_database,
    open_pool,
)
from scene_pipeline.database.urls import redacted
from scene_pipeline.errors import ConfigurationError, DatabaseError, UsageError
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.standins.postgres import is_supervised, passable_directory
from scene_pipeline_tests.waiting import wait_until


def test_without_a_url_the_embedded_server_holds_both_databases() -> None:
    with passable_directory() as home:
        with database_urls(load_settings(home=home)) as urls:
            assert urls.application.startswith("postgresql://")
            assert urls.dagster.startswith("postgresql+psycopg2://")
            assert urls.application.rsplit("/", 1) != urls.dagster.rsplit("/", 1)
            assert f"embedded in {home}" in urls.description
            assert "password" not in repr(urls)
            for url in (urls.application, urls.dagster):
                check_server(url)
        wait_until(lambda: not is_supervised(home))


def test_one_server_of_the_users_serves_both(database_url: str, tmp_path: Path) -> None:
    given = database_url.replace("postgresql:", "postgres:")
    with database_urls(load_settings(home=tmp_path, database_url=given)) as urls:
        assert urls.application == database_url
        assert urls.dagster == database_url.replace("postgresql:", "postgresql+psycopg2:")
        assert redacted(database_url) in urls.description
    assert list(tmp_path.iterdir()) == []


def test_dagsters_database_may_be_another(database_url: str, empty_database_url: str) -> None:
    settings = load_settings(database_url=database_url, dagster_database_url=empty_database_url)
    with database_urls(settings) as urls:
        assert urls.dagster == empty_database_url.replace("postgresql:", "postgresql+psycopg2:")


@pytest.mark.parametrize("variable", ["database_url", "dagster_database_url"])
def test_a_server_that_is_down_is_told_in_one_sentence(variable: str, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, **{variable: "postgresql://u:s3cret@127.0.0.1:1/x"})
    with pytest.raises(DatabaseError, match="refused") as caught, database_urls(settings):
        pass
    assert caught.value.message == (
        "The database postgresql://u@127.0.0.1:1/x cannot be reached: Connection refused."
    )


def test_a_server_that_never_answers_is_given_up_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(DatabaseError, match=r"cannot be reached: .*timeout"):
            check_server(f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x")
        assert time.monotonic() - started < 6


def test_a_missing_database_is_named(database_url: str) -> None:
    with pytest.raises(DatabaseError, match='database "nowhere" does not exist'):
        check_server(database_url.rsplit("/", 1)[0] + "/nowhere")


def test_a_parameter_of_another_driver_is_a_clear_refusal(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="a part that PostgreSQL does not know") as caught:
        check_server(f"{database_url}?pgbouncer=true")
    assert isinstance(caught.value, UsageError)


def test_pool_connections_have_their_limits_and_are_not_in_autocommit(database_url: str) -> None:
    async def use() -> dict[str, object]:
        async with open_pool(database_url, max_size=2) as pool:
            async with pool.connection() as connection:
                assert not connection.autocommit
                cursor = await connection.execute(
                    "SELECT current_setting('lock_timeout') AS lock,"
                    " current_setting('statement_timeout') AS statement,"
                    " current_setting('idle_in_transaction_session_timeout') AS idle,"
                    " current_setting('application_name') AS name"
                )
                row = await cursor.fetchone()
            # The limits outlive a rolled back transaction of an earlier user.
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with pool.connection() as connection:
                    await connection.execute("SELECT 1 / 0")
            async with pool.connection() as connection:
                cursor = await connection.execute("SHOW statement_timeout")
                assert await cursor.fetchone() == {"statement_timeout": "30s"}
        assert row is not None
        return row

    assert asyncio.run(use()) == {
        "lock": "5s", "statement": "30s", "idle": "1min", "name": "scene-pipeline",
    }  # fmt: skip


def test_a_synchronous_connection_commits_at_its_end_and_rolls_back_on_error(
    database_url: str,
) -> None:
    with connect(database_url) as connection:
        connection.execute("CREATE TABLE kept (value int)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        insert_and_fail(database_url)
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        row = connection.execute("SELECT count(*) AS rows FROM kept").fetchone()
    assert row == {"rows": 0}


def insert_and_fail(url: str) -> None:
    with connect(url) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        connection.execute("SELECT 1 / 0")


def test_a_tick_gives_up_a_server_that_never_answers_within_seconds() -> None:
    async def ask(conn: Connection) -> None:
        raise AssertionError(f"{conn} was opened")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            in_database(f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x", ask)
        assert time.monotonic() - started < 6


def test_work_in_the_database_is_bounded_and_committed_at_its_end(database_url: str) -> None:
    async def leave_a_transaction_open(conn: Connection) -> None:
        await conn.execute("INSERT INTO projects (key, master_json) VALUES ('film', '{}')")

    async def look(conn: Connection) -> tuple[str, int]:
        cursor = await conn.execute(
            "SELECT current_setting('statement_timeout') AS longest, count(*) AS n FROM projects"
        )
        row = await cursor.fetchone()
        assert row is not None
        return row["longest"], row["n"]

    in_database(database_url, leave_a_transaction_open)
    assert in_database(database_url, look) == ("30s", 1)
