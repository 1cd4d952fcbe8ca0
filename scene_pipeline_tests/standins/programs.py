"""Real servers' programs as children of a test: started with nothing of ours, logged, and ended."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")

START_SECONDS = 30.0
STOP_SECONDS = 20.0


def installed(name: str) -> Path | None:
    """A program beside this Python, or of the machine; None where there is none."""
    beside_python = Path(sys.executable).parent / name
    if beside_python.is_file():
        return beside_python
    found = shutil.which(name)
    return Path(found) if found else None


@contextmanager
def running(
    program: Path, arguments: Sequence[str], log: Path, **environment: str
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a program as long as the block lasts.

    Args:
        program: What is run.
        arguments: For it.
        log: Takes what it writes; its directory is the program's own, and its home.
        environment: Beside those two everything that it gets.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(program), *arguments],
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(log.parent), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def answer_of(
    process: "subprocess.Popen[bytes]", ask: Callable[[], Answer | None]
) -> Answer | None:
    """What a program that starts answers once it can; None where it has died, or takes too long."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if answer := ask():
            return answer
        time.sleep(0.02)
    return None


def not_started(name: str, log: Path) -> RuntimeError:
    """Why there is no server: the end of what its program wrote."""
    return RuntimeError(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
