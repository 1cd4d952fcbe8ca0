"""A loopback stand-in for Fal: real host names and TLS behind a CONNECT proxy, and a money meter.

In a test:      with FalStandIn(directory) as fal:
                    FalProvider(fal.key, fal.tls_context(), fal.proxy_url)
As a program:   python -m scene_pipeline_tests.standins.fal --directory DIR [--port P]
                prints one line of JSON and writes it to DIR/standin.json: the variables to set for
                the program under test, and where the meter is.

It speaks the queue protocol as Fal's pages and fal-client 1.0.3 do; faults are in `fal_faults`.
"""

import argparse
import json
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from scene_pipeline_tests.standins.fal_faults import Faults
from scene_pipeline_tests.standins.fal_jobs import Jobs
from scene_pipeline_tests.standins.fal_meter import Meter
from scene_pipeline_tests.standins.fal_proxy import ConnectProxy, Exchange
from scene_pipeline_tests.standins.fal_queue import QueueSite
from scene_pipeline_tests.standins.fal_sites import ApiSite, MediaSite

QUEUE_HOSTS = frozenset({"queue.fal.run", "fal.run", "rest.fal.ai"})
API_HOST = "api.fal.ai"
MEDIA_HOSTS = frozenset({"v3.fal.media", "v3b.fal.media", "v2.fal.media", "fal.media"})
HOSTS = QUEUE_HOSTS | MEDIA_HOSTS | {API_HOST}
DEFAULT_KEY = "standin0:0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Contact:
    """One request that reached the stand-in."""

    host: str
    method: str
    path: str
    has_key: bool


class FalStandIn:
    """The stand-in; runs in threads of this process between `start` and `close`.

    Args:
        directory: For the CA certificate and the meter's file.
        port: Of the proxy; 0 for any free one.
        queue_seconds: How long each request waits in the queue.
        run_seconds: How long it then runs.
        hang_seconds: How long a hanging answer hangs.
        clock: Seconds; replaced to let results expire at once.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        queue_seconds: float = 0.02,
        run_seconds: float = 0.03,
        hang_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.key = DEFAULT_KEY
        self.ca_file = directory / "ca.pem"
        self.meter_file = directory / "meter.jsonl"
        self.meter = Meter(self.meter_file)
        self.faults = Faults()
        self.jobs = Jobs(clock, queue_seconds, run_seconds)
        self.queue = QueueSite(self.jobs, self.meter, self.faults, hang_seconds=hang_seconds)
        self.api = ApiSite(self.jobs)
        self.media = MediaSite(self.jobs, self.faults)
        self.contacts: list[Contact] = []
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*sorted(HOSTS)).configure_cert(server_tls)
        self.proxy = ConnectProxy(HOSTS, server_tls, self._answer, port)

    @property
    def proxy_url(self) -> str:
        """Value for SCENE_PIPELINE_EGRESS_PROXY."""
        return self.proxy.url

    @property
    def environment(self) -> dict[str, str]:
        """What to set for a program that is to use this stand-in as Fal."""
        return {
            "SCENE_PIPELINE_EGRESS_PROXY": self.proxy_url,
            "SSL_CERT_FILE": str(self.ca_file),
            "FAL_KEY": self.key,
        }

    def tls_context(self) -> ssl.SSLContext:
        """A client context that trusts this stand-in and nothing else."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def start(self) -> Self:
        """Begin to listen."""
        self.proxy.start()
        return self

    def close(self) -> None:
        """Stop, and let every hanging answer go."""
        self.proxy.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self, exchange: Exchange) -> None:
        key = exchange.headers.get("authorization")
        self.contacts.append(
            Contact(exchange.host, exchange.method, exchange.path, has_key=key is not None)
        )
        if exchange.host in MEDIA_HOSTS:
            self.media.answer(exchange)
        elif key != f"Key {self.key}":
            exchange.send_json(401, {"detail": "Authentication is required."})
        elif exchange.host == API_HOST:
            self.api.answer(exchange)
        else:
            self.queue.answer(exchange)


def main() -> None:
    """Run as a program until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--queue-seconds", type=float, default=0.02)
    parser.add_argument("--run-seconds", type=float, default=0.03)
    parser.add_argument("--fault", action="append", default=[], help="strikes once; repeatable")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    standin = FalStandIn(
        options.directory.absolute(),
        port=options.port,
        queue_seconds=options.queue_seconds,
        run_seconds=options.run_seconds,
    )
    for fault in options.fault:
        standin.faults.add(fault)
    with standin:
        described = json.dumps(
            {
                "proxy_url": standin.proxy_url,
                "ca_file": str(standin.ca_file),
                "fal_key": standin.key,
                "meter_file": str(standin.meter_file),
                "pid": os.getpid(),
                "environment": standin.environment,
            }
        )
        unfinished = options.directory / "standin.json.part"
        unfinished.write_text(described, encoding="utf-8")
        unfinished.replace(options.directory / "standin.json")
        sys.stdout.write(f"{described}\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
