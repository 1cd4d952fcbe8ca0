import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scene_pipeline.database import embedded
from scene_pipeline_tests.standins.embedded_servers import (
    answer,
    attached,
    client_process,
    count_rows,
    kill,
    server_processes,
    supervisors,
    write_row,
)
from scene_pipeline_tests.standins.postgres import is_supervised
from scene_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc to prove that no process was left behind"
)


def test_a_killed_client_leaves_no_server_behind(embedded_home: Path) -> None:
    with client_process(embedded_home) as process:
        answer(process)
        process.kill()
        wait_until(lambda: not is_supervised(embedded_home))
    assert server_processes(embedded_home) == []


def test_a_child_of_a_killed_client_does_not_keep_the_server(embedded_home: Path) -> None:
    program = (
        "import os, subprocess, sys; from pathlib import Path;"
        "from scene_pipeline.database import embedded; home = Path(sys.argv[1]);"
        "server = embedded.attach(home, system_state=home / 'system');"
        "child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL);"
        "print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, embedded_home], stdout=subprocess.PIPE, text=True
    ) as process:
        child, _ = process.communicate(timeout=60)
    try:
        wait_until(lambda: not is_supervised(embedded_home))
        os.kill(int(child), 0)
    finally:
        kill(int(child))


def test_a_killed_supervisor_takes_the_server_along_and_the_next_client_starts_anew(
    embedded_home: Path,
) -> None:
    with client_process(embedded_home) as process:
        pid, supervisor_pid, url = answer(process)
        write_row(url)
        kill(supervisor_pid)
        wait_until(lambda: not is_supervised(embedded_home))
        with attached(embedded_home) as server:
            assert server.pid != pid
            assert count_rows(server.url("scene_pipeline")) == 1
            # The old client finds the new server at the old address.
            assert server.url("scene_pipeline") == url
    log = (embedded_home / "postgres" / "server.log").read_text()
    assert "database system is shut down" in log


def test_a_killed_server_is_started_again_at_the_same_address(embedded_home: Path) -> None:
    with attached(embedded_home) as server:
        url = server.url("scene_pipeline")
        write_row(url)
        kill(server.pid)
        wait_until(lambda: restarted_pid(embedded_home) not in (None, server.pid))
        assert count_rows(url) == 1


def restarted_pid(home: Path) -> int | None:
    record = embedded.Layout.of_home(home).read_server()
    return record.pid if record else None


def test_everything_killed_at_once_is_recovered_from(embedded_home: Path) -> None:
    with client_process(embedded_home) as process:
        pid, supervisor_pid, url = answer(process)
        write_row(url)
        process.kill()
        kill(supervisor_pid, pid)
        wait_until(lambda: not is_supervised(embedded_home))
        with attached(embedded_home) as server:
            assert count_rows(server.url("scene_pipeline")) == 1


@pytest.mark.parametrize("delay_seconds", [0.15, 0.3, 0.45])
def test_a_first_start_killed_half_way_does_not_stand_in_the_way(
    fresh_embedded_home: Path, delay_seconds: float
) -> None:
    with client_process(fresh_embedded_home) as process:
        time.sleep(delay_seconds)
        process.kill()
        kill(*supervisors(fresh_embedded_home))
    with attached(fresh_embedded_home) as server:
        write_row(server.url("scene_pipeline"))
        write_row(server.url("dagster"))


def test_a_client_with_interrupts_ignored_still_gets_a_server_that_ends(
    embedded_home: Path,
) -> None:
    with client_process(
        embedded_home, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    ) as process:
        _, supervisor_pid, _ = answer(process)
        kill(supervisor_pid)
        wait_until(lambda: server_processes(embedded_home) == [])
    assert (
        "received fast shutdown request" in (embedded_home / "postgres" / "server.log").read_text()
    )


def test_a_lock_file_that_names_a_foreign_process_does_not_stand_in_the_way(
    embedded_home: Path,
) -> None:
    with client_process(embedded_home) as process:
        pid, supervisor_pid, _ = answer(process)
        lock_file = embedded_home / "postgres" / "data" / "postmaster.pid"
        content = lock_file.read_text()
        kill(supervisor_pid, pid)
        wait_until(lambda: server_processes(embedded_home) == [])
    with subprocess.Popen(["true"]) as zombie:  # not reaped before the end of the block
        wait_until(lambda: " Z " in Path(f"/proc/{zombie.pid}/stat").read_text())
        lock_file.write_text(content.replace(str(pid), str(zombie.pid), 1))
        with attached(embedded_home) as server:
            write_row(server.url("scene_pipeline"))


def test_a_deleted_directory_ends_its_server(embedded_home: Path) -> None:
    with client_process(embedded_home) as process:
        pid, supervisor_pid, _ = answer(process)
        moved = embedded_home / "deleted"
        (embedded_home / "postgres").rename(moved)
        wait_until(lambda: not Path(f"/proc/{pid}/cwd").exists())
        wait_until(lambda: not Path(f"/proc/{supervisor_pid}/cwd").exists())
        moved.rename(embedded_home / "postgres")


def test_a_directory_that_is_being_removed_gets_no_new_file(embedded_home: Path) -> None:
    """A file made behind the back of `rm -r` makes it fail: "Directory not empty"."""
    directory = embedded_home / "postgres"
    with client_process(embedded_home) as process:
        answer(process)
        (directory / "server.log").unlink()
    wait_until(lambda: not is_supervised(embedded_home))
    assert not (directory / "failure.json").exists()


def test_a_server_killed_while_its_directory_is_removed_gives_no_reason_there(
    embedded_home: Path,
) -> None:
    directory = embedded_home / "postgres"
    with client_process(embedded_home) as process:
        pid, _, _ = answer(process)
        (directory / "server.log").unlink()
        kill(pid)
        wait_until(lambda: not is_supervised(embedded_home))
    assert not (directory / "failure.json").exists()


def test_a_server_whose_directory_is_removed_writes_no_last_checkpoint(
    embedded_home: Path,
) -> None:
    directory = embedded_home / "postgres"
    with client_process(embedded_home) as process:
        answer(process)
        (directory / "supervisor.lock").unlink()
        wait_until(lambda: server_processes(embedded_home) == [])
        (directory / "supervisor.lock").touch()  # by it the fixture sees that nobody serves
    log = (directory / "server.log").read_text()
    assert "received immediate shutdown request" in log
    assert "received fast shutdown request" not in log.rsplit("ready to accept connections", 1)[-1]
