"""What the stand-ins of image services share: real host names over TLS, faults, a money meter.

Belongs here: being reached and being told to fail. Does not belong here: any service's protocol.
"""

import ssl
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from scene_pipeline.drill.standin.meter import Meter
from scene_pipeline.drill.standin.proxy import ConnectProxy, Exchange


@dataclass(frozen=True, slots=True)
class Contact:
    """One request that reached a service."""

    host: str
    method: str
    path: str
    has_key: bool


class QueuedFaults:
    """What goes wrong next, by name; each strikes once where it fits."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)
        self._lock = threading.Lock()
        self._queued: list[str] = []

    def add(self, name: str, times: int = 1) -> None:
        assert name in self._known, f"there is no fault {name!r}"
        with self._lock:
            self._queued.extend([name] * times)

    def take(self, fitting: Collection[str]) -> str | None:
        with self._lock:
            for index, name in enumerate(self._queued):
                if name in fitting:
                    return self._queued.pop(index)
        return None


class LoopbackService:
    """Runs in threads of this process as long as its block lasts; nothing leaves the machine."""

    def __init__(self, directory: Path, hosts: Collection[str], faults: Collection[str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = directory / "ca.pem"
        self.meter = Meter()
        self.faults = QueuedFaults(faults)
        self.contacts: list[Contact] = []
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*sorted(hosts)).configure_cert(server_tls)
        self.proxy = ConnectProxy(frozenset(hosts), server_tls, self._answer)

    @property
    def proxy_url(self) -> str:
        return self.proxy.url

    @property
    def keyed_hosts(self) -> set[str]:
        """Whom the key was sent to."""
        return {contact.host for contact in self.contacts if contact.has_key}

    def tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.proxy.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.proxy.close()

    def _answer(self, exchange: Exchange) -> None:
        has_key = "authorization" in exchange.headers
        self.contacts.append(Contact(exchange.host, exchange.method, exchange.path, has_key))
        self.answer(exchange)
