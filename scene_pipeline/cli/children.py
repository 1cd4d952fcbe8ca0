"""Servers that `up` starts as children: their logs, their signals, their end.

Belongs here: one child and everything it has started itself. Does not belong here: which children
there are (`cli.up`).

Each child leads a process group of its own, so that Ctrl-C in the terminal reaches `up` alone,
which then stops them in order; and so that whatever a child leaves behind is found and ended, too.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scene_pipeline.database.embedded.children import dies_with_parent
from scene_pipeline.errors import ConfigurationError

MAX_LOG_BYTES = 8 * 1024 * 1024
"""A log keeps at most its last two pieces of this size."""
STOP_SECONDS = 12.0
"""How long a child may take to stop by itself."""
LEFTOVER_SECONDS = 4.0
"""How long what it left behind may take; then it is killed."""
_POLL_SECONDS = 0.05
_GROUP_FIELD = 2
"""Index of the process group among the fields after the command's bracket in /proc/PID/stat."""


class Child:
    """A running program.

    Args:
        name: For people and for the log's name.
        command: Program and arguments.
        environment: The whole environment.
        log: Where its output goes, appended.
        stop_signal: What asks it to stop.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        descriptor = _open_log(log)
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own programs
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                # PLW1509: no thread of ours holds a lock that the hook would need.
                preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509
            )
        finally:
            os.close(descriptor)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send the signal that it stops at; it may be gone already."""
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)

    def end(self, deadline: float) -> None:
        """Wait for its end, then for what it started; what is left after that is killed.

        Args:
            deadline: By `time.monotonic`, until which it may stop by itself.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(deadline - time.monotonic(), 0))
        group = self._process.pid
        for number, patience in ((signal.SIGTERM, LEFTOVER_SECONDS), (signal.SIGKILL, 2.0)):
            if not group_is_alive(group):
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            until = time.monotonic() + patience
            while group_is_alive(group) and time.monotonic() < until:
                self._process.poll()
                time.sleep(_POLL_SECONDS)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)

    def last_words(self) -> str:
        """The last line of its log that says something."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def bound_log(self) -> None:
        """Keep the last two pieces of the log; it is opened for appending, so it can be emptied."""
        if self.log.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)


def stop_all(children: Sequence[Child]) -> None:
    """Stop children together; returns when they and everything they started are gone."""
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.end(deadline)


def group_is_alive(group: int) -> bool:
    """Whether a process group has a member that is more than a zombie."""
    stats = list(Path("/proc").glob("[0-9]*/stat"))
    if not stats:  # no /proc here; zombies count as alive, and callers have deadlines
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        return True
    for stat in stats:
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[_GROUP_FIELD]) == group and fields[0] not in {"Z", "X"}:
            return True
    return False


def _open_log(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"The log {path} cannot be written: {error.strerror}.",
            code="home_not_writable",
            next_action="Set SCENE_PIPELINE_HOME to a directory that you may write to.",
        ) from error
