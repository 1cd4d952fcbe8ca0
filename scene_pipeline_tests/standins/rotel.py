"""A real OpenTelemetry collector on loopback: Rotel, which passes on what it is sent.

It starts in a fraction of a second. What arrives behind it was understood by a collector.
"""

import importlib.util
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 10.0


def rotel_program() -> Path | None:
    """The collector's program; None where it is not installed."""
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "rotel-agent"


@contextmanager
def running_rotel(program: Path, directory: Path, behind: str) -> Iterator[str]:
    """Run the collector as long as the block lasts; gives its address for OTLP over HTTP.

    Args:
        program: The collector.
        directory: For its log.
        behind: Where it passes everything on to, by OTLP over HTTP.
    """
    http, grpc = _free_port(), _free_port()
    log = directory / "rotel.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(program),
                "start",
                f"--otlp-http-endpoint=127.0.0.1:{http}",
                f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
                "--exporter=otlp",
                f"--otlp-exporter-endpoint={behind}",
                "--otlp-exporter-protocol=http",
                "--batch-timeout=50ms",
                f"--pid-file={directory / 'rotel.pid'}",
                f"--log-file={log}",
            ],
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
        )
    try:
        _wait_for(process, http, log)
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"Rotel did not start: {log.read_text(errors='replace')[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
