"""A pseudo-terminal of any size: what a person at it would have on the screen, byte by byte."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

from scene_pipeline_tests.end_to_end.command_line import PROGRAM, CommandLine

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"
CTRL_C = b"\x03"
TIMEOUT_SECONDS = 120.0


class PseudoTerminal:
    """A command at a terminal of its own.

    Args:
        cli: Where it runs.
        arguments: Of the program.
        columns: Width.
        rows: Height.
        variables: Of the environment; TERM is xterm-256color unless it is among them.
    """

    def __init__(
        self,
        cli: CommandLine,
        *arguments: str | Path,
        columns: int = 80,
        rows: int = 24,
        **variables: str,
    ) -> None:
        self._master, slave = pty.openpty()
        name = os.ttyname(slave)
        self.resize(columns, rows)
        environment = {"TERM": "xterm-256color", **variables}
        self._process = subprocess.Popen(
            # The first terminal that a new session opens is its own: Ctrl-C is then a key there.
            ["sh", "-c", 'exec <"$0" >"$0" 2>&1; exec "$@"', name, PROGRAM, *arguments],
            cwd=cli.directory,
            env=cli.environment(**environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._slave: int | None = slave
        """Open until the program has the terminal: else the first look finds nobody there."""
        self.written = b""

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the program is told."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def press(self, key: bytes) -> None:
        """Type something."""
        os.write(self._master, key)

    def send(self, number: signal.Signals) -> None:
        """Send the program a signal, and nobody else."""
        self._process.send_signal(number)

    def read_until(self, condition: Callable[[bytes], bool]) -> None:
        """Take in what is written until it fulfils a condition, or the program has ended.

        Raises:
            TimeoutError: Neither came about in time.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition(self.written):
            if time.monotonic() > deadline:
                self._process.kill()
                raise TimeoutError(self.written[-2000:].decode(errors="replace"))
            ready, _, _ = select.select([self._master], [], [], 0.2)
            if not ready:
                continue
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                return
            if self._slave is not None:
                os.close(self._slave)
                self._slave = None
            self.written += chunk

    def end(self) -> int:
        """Read to the end; the exit code."""
        self.read_until(lambda _: False)
        os.close(self._master)
        return self._process.wait(timeout=TIMEOUT_SECONDS)

    @property
    def is_cursor_shown(self) -> bool:
        """Whether the terminal was left with its cursor."""
        return self.written.rfind(SHOW_CURSOR) >= self.written.rfind(HIDE_CURSOR)
