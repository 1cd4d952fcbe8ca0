import json
import os
import signal
import stat
import sys
import time
from pathlib import Path

import psycopg
import pytest

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.locks import try_lock
from scene_pipeline.database.embedded.supervisor import GRACE_SECONDS
from scene_pipeline.errors import DatabaseError
from scene_pipeline_tests.standins.embedded_servers import (
    answer,
    attached,
    client_process,
    count_rows,
    server_processes,
    write_row,
)
from scene_pipeline_tests.standins.postgres import is_supervised
from scene_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc to prove that no process was left behind"
)


def test_the_first_client_starts_a_private_server_with_both_databases(embedded_home: Path) -> None:
    with attached(embedded_home) as server:
        for database in embedded.DATABASES:
            with psycopg.connect(server.url(database)) as connection:
                shown = connection.execute(
                    "SELECT current_setting('listen_addresses'),"
                    " current_setting('unix_socket_directories'),"
                    " current_setting('max_connections'), current_setting('password_encryption'),"
                    " current_setting('server_encoding'), current_setting('lc_collate', true)"
                ).fetchone()
                assert shown is not None
                assert shown[:5] == ("127.0.0.1", "", "200", "scram-sha-256", "UTF8")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url("dagster"), password="wrong")
        record = embedded_home / "postgres" / "server.json"
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        assert json.loads(record.read_text())["pid"] == server.pid
        assert "password" not in repr(embedded.Layout.of_home(embedded_home).read_server())
        assert embedded.is_running(embedded_home)


def test_a_second_client_uses_the_same_server_and_the_last_one_ends_it(embedded_home: Path) -> None:
    with attached(embedded_home) as first:
        with attached(embedded_home) as second:
            assert second.pid == first.pid
        # Longer than a supervisor without clients goes on: the first one keeps the server.
        time.sleep(2 * GRACE_SECONDS)
        write_row(first.url("scene_pipeline"))
    wait_until(lambda: not is_supervised(embedded_home))
    assert not embedded.is_running(embedded_home)
    assert server_processes(embedded_home) == []


def test_data_and_password_outlive_a_restart(embedded_home: Path) -> None:
    with attached(embedded_home) as server:
        url = server.url("scene_pipeline")
        write_row(url)
    wait_until(lambda: not is_supervised(embedded_home))
    with attached(embedded_home) as server:
        assert count_rows(server.url("scene_pipeline")) == 1
        assert str(psycopg.conninfo.conninfo_to_dict(url)["password"]) in server.url("dagster")


def test_clients_of_the_same_instant_share_one_server(fresh_embedded_home: Path) -> None:
    with (
        client_process(fresh_embedded_home) as a,
        client_process(fresh_embedded_home) as b,
        client_process(fresh_embedded_home) as c,
        client_process(fresh_embedded_home) as d,
    ):
        answers = {answer(process) for process in (a, b, c, d)}
        assert len(answers) == 1
        pid = answers.pop()[0]
        assert pid in server_processes(fresh_embedded_home)


def test_a_supervisor_that_is_asked_to_stop_does_so_cleanly(embedded_home: Path) -> None:
    with attached(embedded_home) as server:
        os.kill(server.supervisor_pid, signal.SIGTERM)
        wait_until(lambda: not is_supervised(embedded_home))
        assert server_processes(embedded_home) == []


def test_data_of_another_version_is_refused_by_name(embedded_home: Path) -> None:
    with attached(embedded_home):
        pass
    wait_until(lambda: not is_supervised(embedded_home))
    (embedded_home / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with (
        pytest.raises(DatabaseError, match="made by PostgreSQL 9") as caught,
        attached(embedded_home),
    ):
        pass
    assert caught.value.error_code == "database_version_mismatch"


def test_a_server_that_cannot_start_says_why_and_names_its_log(embedded_home: Path) -> None:
    with attached(embedded_home):
        pass
    wait_until(lambda: not is_supervised(embedded_home))
    (embedded_home / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(DatabaseError, match=r"did not start: .*server\.log") as caught:
        embedded.attach(embedded_home, system_state=embedded_home / "system")
    assert caught.value.error_code == "database_start_failed"
    assert not embedded.is_running(embedded_home)


def test_a_client_gives_up_in_time(embedded_home: Path) -> None:
    layout = embedded.Layout.of_home(embedded_home)
    layout.make_directory()
    with layout.supervisor_lock.open("wb") as file:
        assert try_lock(file.fileno(), "exclusive")
        with pytest.raises(DatabaseError, match="was not ready in time"):
            embedded.attach(
                embedded_home, timeout_seconds=0.3, system_state=embedded_home / "system"
            )


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    assert not embedded.is_running(tmp_path)
    assert list(tmp_path.iterdir()) == []
