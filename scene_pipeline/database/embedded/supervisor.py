"""The process that keeps PostgreSQL running for as long as anybody needs it.

Run as `python -m scene_pipeline.database.embedded.supervisor --directory DIR`, by the first client.
Belongs here: the life of the server. Does not belong here: what clients do (`client`).
Mode of operation: no terminal, no output but its log, ends by itself.
"""

import argparse
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from scene_pipeline.database.embedded.cluster import Cluster, prepare_cluster
from scene_pipeline.database.embedded.layout import (
    SUPERUSER,
    SYSTEM_STATE,
    Layout,
    ServerRecord,
)
from scene_pipeline.database.embedded.locks import try_lock, unlock
from scene_pipeline.database.embedded.postmaster import HOST, Postmaster, end_leftovers
from scene_pipeline.errors import DatabaseError

POLL_SECONDS = 0.5
GRACE_SECONDS = 1.0
"""How long the server outlives its last client: a command that follows finds it running."""
MAX_RESTARTS = 5
"""How often a killed PostgreSQL is started again before the supervisor gives up."""
LOCK_PATIENCE_SECONDS = 1.0
MAX_LOG_BYTES = 8 * 1024 * 1024


class Supervisor:
    """Serves one directory; the caller holds its supervisor lock."""

    def __init__(self, layout: Layout, lock: int, system_state: Path) -> None:
        self._layout = layout
        self._lock = lock
        self._system_state = system_state
        self._clients = layout.open_file(layout.clients_lock, "lock")
        self._is_stopping = False
        self.has_served = False
        """Whether clients were told of the server: nobody waits for the reason of an end after."""
        self._wakeup, wakeup_writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_writer, False)
        signal.set_wakeup_fd(wakeup_writer)
        # Set explicitly: a shell may have started our client with SIGINT ignored.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def run(self, preferred_port: int) -> None:
        """Serve until nobody is left.

        Raises:
            DatabaseError: The server cannot be started.
        """
        cluster = prepare_cluster(self._layout, self._system_state)
        log = self._layout.open_file(self._layout.server_log, "log")
        postmaster = Postmaster(cluster, self._layout.server_log, log)
        try:
            postmaster.start(preferred_port, self._is_unwanted)
            self._publish(cluster, postmaster)
            self._watch(cluster, postmaster)
        finally:
            self._layout.remove_server()
            postmaster.stop(is_doomed=self._is_deleted())
            end_leftovers(cluster.data)

    def _watch(self, cluster: Cluster, postmaster: Postmaster) -> None:
        restarts = 0
        idle_since: float | None = None
        while not self._is_unwanted():
            self._pause()
            if not postmaster.is_alive():
                if restarts == MAX_RESTARTS:
                    raise DatabaseError(
                        f"The embedded database in {cluster.data} died {restarts + 1} times.",
                        code="database_start_failed",
                        next_action=f"See {self._layout.server_log}, then start again.",
                    )
                restarts += 1
                self._layout.remove_server()
                postmaster.start(postmaster.port, self._is_unwanted)
                self._publish(cluster, postmaster)
            if not try_lock(self._clients, "exclusive"):
                idle_since = None
                continue
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since >= GRACE_SECONDS:
                return  # the lock stays ours until this process ends: newcomers wait for that
            unlock(self._clients)
            self._bound_log()

    def _publish(self, cluster: Cluster, postmaster: Postmaster) -> None:
        self._layout.write_server(
            ServerRecord(
                host=HOST,
                port=postmaster.port,
                user=SUPERUSER,
                password=cluster.password,
                pid=postmaster.pid,
                supervisor_pid=os.getpid(),
                version=cluster.binaries.version,
                location=str(cluster.data),
                programs=str(cluster.binaries.directory),
            )
        )
        self.has_served = True

    def _is_unwanted(self) -> bool:
        """Asked to stop, or the directory was deleted under us."""
        try:
            is_same = os.path.samestat(self._layout.supervisor_lock.stat(), os.fstat(self._lock))
        except FileNotFoundError:
            is_same = False
        return self._is_stopping or not is_same

    def _is_deleted(self) -> bool:
        """The directory did not move: it is no more, or is being removed."""
        return os.fstat(self._lock).st_nlink == 0

    def _pause(self) -> None:
        """Wait for the next poll, a signal or the end of the child."""
        select.select([self._wakeup], [], [], POLL_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _bound_log(self) -> None:
        """Keep the last two pieces of the log; it is opened for appending, so it can be emptied."""
        log = self._layout.server_log
        with contextlib.suppress(FileNotFoundError):  # removed by hand, alone or with everything
            if log.stat().st_size > MAX_LOG_BYTES:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the supervisor process.

    Returns:
        0 after a clean end, 1 when the server could not be started (the reason is in failure.json;
        after it has served once, in the log alone), 3 when another supervisor serves the directory.
    """
    parser = argparse.ArgumentParser(prog="supervisor")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--system-state", type=Path, default=SYSTEM_STATE)
    parser.add_argument("--port", type=int, default=0, help="preferred port")
    parser.add_argument("--lock-descriptor", type=int, help="the supervisor lock, held already")
    parser.add_argument("--detach", action="store_true", help="go on in a process of its own")
    options = parser.parse_args(arguments)
    if options.detach and os.fork():
        return 0
    os.umask(0o022)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    layout = Layout(options.directory)
    lock = _take_lock(layout, options.lock_descriptor)
    if lock is None:
        return 3
    layout.remove_server()
    layout.remove_failure()
    supervisor = Supervisor(layout, lock, options.system_state)
    try:
        supervisor.run(options.port)
    except (DatabaseError, OSError, subprocess.SubprocessError) as error:
        # A file more would keep alive a directory that is just being removed.
        if not supervisor.has_served:
            layout.write_failure(_start_failure(layout, error))
        if not isinstance(error, DatabaseError):
            raise
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _start_failure(layout: Layout, error: Exception) -> DatabaseError:
    if isinstance(error, DatabaseError):
        return error
    message = f"The embedded database in {layout.directory} did not start: {error}."
    return DatabaseError(message, code="database_start_failed")


def _take_lock(layout: Layout, inherited: int | None) -> int | None:
    if inherited is not None:
        os.set_inheritable(inherited, False)
        return inherited
    lock = layout.open_file(layout.supervisor_lock, "lock")
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while not try_lock(lock, "exclusive"):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)
    return lock


if __name__ == "__main__":
    sys.exit(main())
