"""PostgreSQL as a child process: start, readiness, shutdown, and what a killed one left behind.

Belongs here: everything that sends a signal to a PostgreSQL process. Does not belong here: when to
start or stop (`supervisor`).
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scene_pipeline.database.embedded.account import identity
from scene_pipeline.database.embedded.children import dies_with_parent
from scene_pipeline.database.embedded.cluster import ENVIRONMENT, Cluster
from scene_pipeline.errors import DatabaseError

HOST = "127.0.0.1"
MAX_CONNECTIONS = 200
START_RETRY_SECONDS = 10.0
RECOVERY_SECONDS = 600.0
"""How long crash recovery may take before the start counts as failed."""
LEFTOVER_SECONDS = 10.0
"""How long PostgreSQL of a dead supervisor gets for its own shutdown before it is killed."""
STOPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""How a server is asked to end, one after the other, and for how many seconds each."""
POLL_SECONDS = 0.02
TRANSIENT = (
    'lock file "postmaster.pid" already exists',
    "pre-existing shared memory block",
    "Address already in use",
)
"""What a start says while a killed predecessor is not quite gone; it passes."""


class Postmaster:
    """One PostgreSQL server, child of this process."""

    def __init__(self, cluster: Cluster, log: Path, log_descriptor: int) -> None:
        self._cluster = cluster
        self._log = log
        self._log_descriptor = log_descriptor
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._process.pid if self._process else 0

    def start(self, preferred_port: int, is_cancelled: Callable[[], bool]) -> None:
        """Start and wait until connections are accepted.

        Args:
            preferred_port: Taken when it is free, so that clients of a killed server find the new
                one; 0 for any.
            is_cancelled: Asked while waiting.

        Raises:
            DatabaseError: The server ends by itself, for a reason that does not pass.
        """
        end_leftovers(self._cluster.data)
        deadline = time.monotonic() + START_RETRY_SECONDS
        while True:
            self.port = _free_port(preferred_port)
            log_offset = self._log.stat().st_size
            self._process = self._launch()
            if self._wait_ready(is_cancelled):
                return
            with self._log.open("rb") as file:
                file.seek(log_offset)
                output = file.read(65536).decode("utf-8", "replace")
            if time.monotonic() > deadline or not any(text in output for text in TRANSIENT):
                raise DatabaseError(
                    f"The embedded database in {self._cluster.data} did not start: "
                    f"{_reason(output)} Its log is {self._log}.",
                    code="database_start_failed",
                    next_action="Correct what the log says and start again, or set DATABASE_URL.",
                )
            preferred_port = 0
            time.sleep(0.3)

    def is_alive(self) -> bool:
        """Whether the server still runs; a dead one is reaped."""
        return self._process is not None and self._process.poll() is None

    def stop(self, *, is_doomed: bool = False) -> None:
        """Shut down: fast (rolls back what is open), then at once, then by force.

        Args:
            is_doomed: The data is being removed, so nothing more is written to it.
        """
        if self._process is None:
            return
        for signal_number, patience_seconds in STOPS[1:] if is_doomed else STOPS:
            if self.is_alive():
                self._process.send_signal(signal_number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience_seconds)

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
            "log_checkpoints": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return subprocess.Popen(
            [self._cluster.binaries.postgres, "-D", self._cluster.data, *options],
            stdin=subprocess.DEVNULL,
            stdout=self._log_descriptor,
            stderr=self._log_descriptor,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGINT),
            **identity(self._cluster.account),
        )

    def _wait_ready(self, is_cancelled: Callable[[], bool]) -> bool:
        """True once connections are accepted, False when the server ended."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while self.is_alive():
            if _is_ready(self._cluster.data, self.pid) or is_cancelled():
                return True
            if time.monotonic() > deadline:
                self.stop()
            time.sleep(POLL_SECONDS)
        return False


def end_leftovers(data: Path) -> None:
    """Wait for, and in the end kill, processes of a server whose supervisor is gone.

    Only called under the supervisor's lock, so whoever still works on the data is a leftover.
    """
    if sys.platform != "linux":  # there, PostgreSQL's own lock file and our retries must do
        return
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while leftovers := _processes_in(data):
        if time.monotonic() > deadline:
            for pid in leftovers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif (postmaster := _postmaster_pid(data)) in leftovers:
            # Asked again in case the kernel's signal met it before it could listen.
            with contextlib.suppress(ProcessLookupError):
                os.kill(postmaster, signal.SIGINT)
        time.sleep(0.1)
    _disown_lock_file(data)


def _processes_in(data: Path) -> list[int]:
    """PostgreSQL processes that work in the data directory, where every one of them moves to."""
    place = data.resolve()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, a zombie, or another user's
            program = (entry / "exe").readlink().name.removesuffix(" (deleted)")
            if program == "postgres" and (entry / "cwd").readlink() == place:
                found.append(int(entry.name))
    return found


def _disown_lock_file(data: Path) -> None:
    """Put our own process id for a dead one into the lock file of a killed server.

    PostgreSQL takes a zombie, or another program that got the number since, for a running server:
    for ever where a container's first process does not reap. Its parent's number, ours, it
    disregards. The rest of the file stays: by it PostgreSQL still notices processes of the old
    server that are attached to the shared memory.
    """
    pid = _postmaster_pid(data)
    if not pid or _may_serve(pid):
        return
    lock_file = data / "postmaster.pid"
    rest = lock_file.read_text().split("\n", maxsplit=1)[1]
    lock_file.write_text(f"{os.getpid()}\n{rest}")


def _may_serve(pid: int) -> bool:
    """Whether a process could be a server that we were not allowed to look at."""
    process = Path(f"/proc/{pid}")
    try:
        (process / "cwd").readlink()
    except PermissionError:
        with contextlib.suppress(OSError):
            name, state = (process / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            return name == "postgres" and state.split()[0] not in "ZX"
    except OSError:
        return False
    return False  # it was looked at, and works somewhere else


def _postmaster_pid(data: Path) -> int:
    try:
        return int((data / "postmaster.pid").read_text().split("\n", maxsplit=1)[0])
    except (OSError, ValueError):
        return 0


def _is_ready(data: Path, pid: int) -> bool:
    """Whether the lock file is this server's and says, in its last line, that it is ready."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _free_port(preferred: int) -> int:
    """A port that nobody listens on now; whoever takes it meanwhile costs another try."""
    with socket.socket() as probe:
        # As PostgreSQL does: connections of a killed predecessor do not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            return _free_port(0)
        return int(probe.getsockname()[1])


def _reason(output: str) -> str:
    lines = [line for line in output.splitlines() if "FATAL:" in line or "PANIC:" in line]
    text = (lines or output.splitlines() or ["it gave no reason"])[-1]
    return text.split("FATAL:")[-1].split("PANIC:")[-1].strip().rstrip(".") + "."
