"""A process that only fetches and checks pictures, and reports what it held and left behind.

Run as `python -m scene_pipeline_tests.standins.fetching_program`: an order as JSON comes in at
standard input, a report goes out at standard output. A process of its own, so that its memory is
that of the pipeline's parts and not that of the tests.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from scene_pipeline.egress import tls_context
from scene_pipeline.errors import FetchError, ImageError
from scene_pipeline.media.fetch import FetchLimits, SafeFetcher
from scene_pipeline.media.images import WorkerLimits
from scene_pipeline.media.workers import ImageWorkers

WORKERS = 4
_SAMPLE_SECONDS = 0.02
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class FetchOrder:
    """What to fetch, and within which bounds."""

    host: str
    """`host:port` that may be reached."""
    urls: list[str]
    max_bytes: int
    total_seconds: float
    read_seconds: float


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What came of it."""

    outcomes: list[str]
    """"ok" or the error's code, in the order's order."""
    slowest_seconds: float
    peak_bytes: int
    """Resident memory of this process and all its children together."""
    growth_bytes: int
    """Resident memory of this process alone, from the tenth part of the order to its end."""
    open_sockets: int
    children: int
    threads: list[str]
    temporary_files: list[str]


def _children() -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = entry.read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid():
            found.append(int(entry.parent.name))
    return found


def _resident(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_sockets() -> int:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return sum(link.startswith("socket:") for link in links)


class _Scales:
    """Weighs this process and its children until it is told to stop."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._weigh)
        self._thread.start()

    def _weigh(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            now = sum(map(_resident, [os.getpid(), *_children()]))
            self.peak_bytes = max(self.peak_bytes, now)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def carry_out(order: FetchOrder) -> FetchReport:
    """Fetch and check everything, then let go of everything and look around."""
    scales = _Scales()
    limits = FetchLimits(
        max_bytes=order.max_bytes,
        total_seconds=order.total_seconds,
        connect_seconds=1.0,
        read_seconds=order.read_seconds,
    )
    durations = []
    with (
        SafeFetcher([order.host], [order.host], tls_context(None), limits=limits) as fetcher,
        ImageWorkers(
            WORKERS,
            WorkerLimits(wall_seconds=1.5, memory_bytes=512 * 2**20),
            worker_module="scene_pipeline_tests.standins.bad_worker",
        ) as workers,
        ThreadPoolExecutor(WORKERS) as threads,
    ):

        def take(url: str) -> str:
            started = time.monotonic()
            try:
                workers.inspect(fetcher.fetch(url).data)
            except (FetchError, ImageError) as error:
                return error.error_code
            finally:
                durations.append(time.monotonic() - started)
            return "ok"

        tenth = len(order.urls) // 10
        outcomes = list(threads.map(take, order.urls[:tenth]))
        before = _resident(os.getpid())
        outcomes += threads.map(take, order.urls[tenth:])
        growth_bytes = _resident(os.getpid()) - before
    scales.stop()
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline and (threading.active_count() > 1 or _children()):
        time.sleep(_SAMPLE_SECONDS)
    return FetchReport(
        outcomes=outcomes,
        slowest_seconds=max(durations),
        peak_bytes=scales.peak_bytes,
        growth_bytes=growth_bytes,
        open_sockets=_open_sockets(),
        children=len(_children()),
        threads=[thread.name for thread in threading.enumerate()],
        temporary_files=sorted(path.name for path in Path(os.environ["TMPDIR"]).iterdir()),
    )


if __name__ == "__main__":
    json.dump(asdict(carry_out(FetchOrder(**json.load(sys.stdin)))), sys.stdout)
