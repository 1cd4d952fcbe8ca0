"""What a process does that needs the embedded server: attach, use, let go.

Belongs here: the client's half of the file locks. Does not belong here: starting PostgreSQL itself
(`supervisor`). Imports nothing heavy: attaching to a running server costs a few milliseconds.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import scene_pipeline
from scene_pipeline.database.embedded.layout import SYSTEM_STATE, Layout, ServerRecord
from scene_pipeline.database.embedded.locks import try_lock
from scene_pipeline.errors import DatabaseError

POLL_SECONDS = 0.02
MAX_STARTS = 5
"""Supervisors that vanish without a reason (killed while starting) before we give up."""
SPAWN_TIMEOUT_SECONDS = 30


class EmbeddedServer:
    """A running server that stays up for as long as this object is not closed.

    The claim also ends with the process, however that ends. Use it as a context manager.
    """

    def __init__(self, record: ServerRecord, lock: int) -> None:
        self._record = record
        self._lock: int | None = lock

    @property
    def location(self) -> Path:
        """The data directory."""
        return Path(self._record.location)

    @property
    def programs(self) -> Path:
        """The directory of PostgreSQL's programs."""
        return Path(self._record.programs)

    @property
    def version(self) -> str:
        """PostgreSQL's version, "18.4"."""
        return self._record.version

    @property
    def pid(self) -> int:
        """Process id of the postmaster at the time of attaching."""
        return self._record.pid

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor."""
        return self._record.supervisor_pid

    def url(self, database: str) -> str:
        """A `postgresql://` URL with the password in it: never for a log."""
        record = self._record
        credentials = f"{quote(record.user)}:{quote(record.password)}"
        return f"postgresql://{credentials}@{record.host}:{record.port}/{quote(database)}"

    def close(self) -> None:
        """Let go; the server stops about a second after the last client did."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def attach(
    home: Path, timeout_seconds: float = 60.0, *, system_state: Path = SYSTEM_STATE
) -> EmbeddedServer:
    """Use the embedded server of a project, starting it when it is not running.

    Args:
        home: The project's data directory; the server's files go to `<home>/postgres`.
        timeout_seconds: How long to wait for the server, a first start included.
        system_state: Where root puts data and programs that PostgreSQL's user cannot reach in
            `home` or in the Python environment.

    Raises:
        DatabaseError: It cannot be started, or not in time; says why.
    """
    layout = Layout.of_home(home)
    layout.make_directory()
    deadline = time.monotonic() + timeout_seconds
    clients = layout.open_file(layout.clients_lock, "lock")
    try:
        while not try_lock(clients, "shared"):  # a supervisor is going away: it takes moments
            _check_time(layout, deadline)
            time.sleep(POLL_SECONDS)
        return EmbeddedServer(_running_server(layout, deadline, system_state), clients)
    except BaseException:
        os.close(clients)
        raise


def is_running(home: Path) -> bool:
    """Whether the embedded server of a project accepts connections now; starts nothing."""
    layout = Layout.of_home(home)
    try:
        lock = os.open(layout.supervisor_lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(lock, "shared") and layout.read_server() is not None
    finally:
        os.close(lock)


def _running_server(layout: Layout, deadline: float, system_state: Path) -> ServerRecord:
    starts = 0
    while True:
        lock = layout.open_file(layout.supervisor_lock, "lock")
        try:
            if try_lock(lock, "exclusive"):  # nobody supervises
                if starts and (failure := layout.read_failure()):
                    raise failure
                if starts == MAX_STARTS:
                    raise _start_failed(layout, f"its supervisor died {starts} times")
                _spawn_supervisor(layout, lock, system_state)
                starts += 1
        finally:
            os.close(lock)  # the supervisor's copy keeps the lock
        record = layout.read_server()
        if record is not None and _accepts_connections(record):
            return record
        _check_time(layout, deadline)
        time.sleep(POLL_SECONDS)


def _spawn_supervisor(layout: Layout, lock: int, system_state: Path) -> None:
    """Hand our lock to a new supervisor: at no moment can there be two, nor a second spawn."""
    stale = layout.read_server()
    layout.remove_server()
    layout.remove_failure()
    command = [
        sys.executable, "-m", "scene_pipeline.database.embedded.supervisor",
        "--directory", str(layout.directory), "--system-state", str(system_state),
        "--port", str(stale.port if stale else 0),
        "--lock-descriptor", str(lock), "--detach",
    ]  # fmt: skip
    roots = [str(Path(scene_pipeline.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    log = layout.open_file(layout.supervisor_log, "log")
    os.truncate(log, 0)
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots))},
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C in our terminal is not meant for the database
            timeout=SPAWN_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _start_failed(layout, "its supervisor could not be started") from error
    finally:
        os.close(log)
    if answer.returncode > 0:  # one that was killed, below 0, is simply missing and tried again
        raise _start_failed(layout, "its supervisor could not be started")


def _accepts_connections(record: ServerRecord) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((record.host, record.port), timeout=1).close()
        return True
    return False


def _check_time(layout: Layout, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise _start_failed(layout, "it was not ready in time")


def _start_failed(layout: Layout, reason: str) -> DatabaseError:
    return DatabaseError(
        f"The embedded database in {layout.directory} did not start: {reason}.",
        code="database_start_failed",
        next_action=f"See {layout.supervisor_log} and {layout.server_log}, or set DATABASE_URL.",
    )
