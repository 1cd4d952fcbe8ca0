"""A real OpenTelemetry collector on loopback: Rotel, which passes on what it is sent.

It starts in a fraction of a second. What arrives behind it was understood by a collector.
"""

import importlib.util
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scene_pipeline_tests.standins.media_server import free_port
from scene_pipeline_tests.standins.programs import answer_of, not_started, running


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
    http, grpc = free_port(), free_port()
    log = directory / "rotel.log"
    arguments = [
        "start",
        f"--otlp-http-endpoint=127.0.0.1:{http}",
        f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
        "--exporter=otlp",
        f"--otlp-exporter-endpoint={behind}",
        "--otlp-exporter-protocol=http",
        "--batch-timeout=50ms",
        f"--pid-file={directory / 'rotel.pid'}",
        f"--log-file={log}",
    ]
    with running(program, arguments, log) as process:
        if not answer_of(process, lambda: _listens(http)):
            raise not_started("Rotel", log)
        yield f"http://127.0.0.1:{http}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
