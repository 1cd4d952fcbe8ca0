"""The stand-in itself: its parts put together, and who is answered by which.

Its pages, faults and meter have files of their own.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from scene_pipeline.drill.standin.faults import Faults
from scene_pipeline.drill.standin.jobs import Jobs
from scene_pipeline.drill.standin.meter import Meter
from scene_pipeline.drill.standin.other_sites import ApiSite, MediaSite, UploadSite
from scene_pipeline.drill.standin.proxy import ConnectProxy, Exchange
from scene_pipeline.drill.standin.queue_site import QueueSite

QUEUE_HOSTS = frozenset({"queue.fal.run", "fal.run"})
API_HOST = "api.fal.ai"
UPLOAD_HOST = "rest.fal.ai"
MEDIA_HOSTS = frozenset({"v3.fal.media", "v3b.fal.media", "v2.fal.media", "fal.media"})
HOSTS = QUEUE_HOSTS | MEDIA_HOSTS | {API_HOST, UPLOAD_HOST}
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
        self.uploads = UploadSite()
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
        elif exchange.host == UPLOAD_HOST:
            self.uploads.answer(exchange)
        else:
            self.queue.answer(exchange)
