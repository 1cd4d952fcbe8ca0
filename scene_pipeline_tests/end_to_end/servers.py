"""What `up` starts, for tests that need it running."""

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.waiting import wait_until

_PORTS = range(10_000, 12_000)
_MAX_WORKERS = 50
"""Beside those of the other servers of tests."""
STOP_SECONDS = 40.0
"""Far above what it takes, for a busy machine."""


@dataclass
class Running:
    """An `up` that answers."""

    process: "subprocess.Popen[str]"
    addresses: dict[str, Any]


def free_ports() -> dict[str, str]:
    """Variables that put the frame server and Dagster on ports that are free now.

    They are used only seconds later: below the range from which the system hands out ports to
    clients, or a connection of another test would take one meanwhile; and each worker of the tests
    has its own of them.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[worker % _MAX_WORKERS :: _MAX_WORKERS]
    frames_port, dagster_port = random.sample([p for p in own if _is_free(p)], 2)
    return {
        "SCENE_PIPELINE_PUBLIC_URL": f"http://127.0.0.1:{frames_port}",
        "SCENE_PIPELINE_DAGSTER_PORT": str(dagster_port),
    }


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@contextmanager
def up(cli: CommandLine) -> Iterator[Running]:
    """Start `up --json` and wait for its document; it is gone at the end."""
    process = cli.start("up", "--json")
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.rstrip() == "}":
                break
        addresses = json.loads("".join(lines))
        assert "error" not in addresses, addresses
        yield Running(process, addresses)
    finally:
        ended_as = process.poll()
        process.terminate()
        _, words = process.communicate(timeout=STOP_SECONDS)
        if ended_as:  # a test that needed it cannot say why it was gone
            sys.stderr.write(f"`up` ended by itself with {ended_as}: {words[-2000:]}\n")
            for log in sorted((cli.home / "logs").glob("*.log")):
                sys.stderr.write(f"{log.name}: {log.read_text(errors='replace')[-2000:]}\n")
        wait_until(lambda: not processes_of(cli.home), STOP_SECONDS)


def processes_of(home: Path) -> dict[int, str]:
    """Every living process that was started for this data directory, by what it was told."""
    found = {}
    mark = str(home).encode()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            told = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
            state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, UnicodeDecodeError):
            continue
        if mark in told and state != "Z":
            found[int(directory.name)] = told[:200].decode("utf-8", "replace")
    return found
