"""Homes of embedded servers for tests, clients in processes of their own, and what is left of them.

Every home is watched: a test that leaves a process behind fails at its end.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.postmaster import _processes_in
from scene_pipeline_tests.standins.postgres import is_supervised, passable_directory
from scene_pipeline_tests.waiting import wait_until


@pytest.fixture(scope="session")
def prepared_embedded_home() -> Iterator[Path]:
    """A cluster to copy: making one costs a second or more, and syncs a thousand files."""
    with passable_directory() as directory:
        with attached(directory):
            pass
        wait_until(lambda: not is_supervised(directory))
        with (directory / "postgres" / "data" / "postgresql.conf").open("a") as file:
            file.write("fsync = off\n")  # processes are killed here, not machines
        yield directory


@pytest.fixture
def embedded_home(prepared_embedded_home: Path) -> Iterator[Path]:
    with watched_directory() as directory:
        subprocess.run(["cp", "-a", prepared_embedded_home / "postgres", directory], check=True)
        yield directory


@pytest.fixture
def fresh_embedded_home() -> Iterator[Path]:
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
