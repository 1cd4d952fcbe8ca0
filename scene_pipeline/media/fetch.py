"""The only code that fetches a URL we were given.

Mode of operation: refuse first (`media.exchange`), then judge an answer by its status and headers,
then read at most `max_bytes` of it before the deadline, into memory or into a new file.

Belongs here: one class. Does not belong here: what the bytes are (`media.inspection`,
`media.recognition`).
"""

import hashlib
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpcore

from scene_pipeline.media.bodies import OnBytes, body_of, new_file, write_whole
from scene_pipeline.media.exchange import Answer, FetchLimits, GuardedExchange
from scene_pipeline.media.network import Resolver
from scene_pipeline.media.responses import (
    PICTURE,
    check_status,
    declared_size,
    declared_type,
    wanted_file,
)
from scene_pipeline.media.urls import UrlPolicy

__all__ = ["Downloaded", "FetchLimits", "FetchedBytes", "OnBytes", "Probe", "SafeFetcher"]

# What a server says that gives files but does not answer questions about them: a signed URL is
# signed for one method.
_REFUSED_QUESTION = frozenset({403, 405, 501})
_MAX_VERSION_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class FetchedBytes:
    """A body that arrived whole, and nothing else is known about it."""

    data: bytes
    declared_content_type: str | None
    """What the server said, in lower case and without parameters; not to be believed."""
    final_url_redacted: str
    """Where it came from in the end, without query."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that arrived whole, and nothing else is known about it."""

    final_url_redacted: str
    """Where it came from in the end, without query."""
    declared_type: str | None
    """What the server said, in lower case and without parameters; not to be believed."""
    size_bytes: int
    sha256: str
    """Lower-case hex."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a server says about a file without giving it: advice, never a reason to accept."""

    status: int
    """200, or that of a server that refuses to be asked (403, 405, 501): nothing else is known."""
    content_type: str | None = None
    """In lower case and without parameters."""
    size_bytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None


class SafeFetcher:
    """Fetches from allowed hosts; thread safe, one per process.

    Hosts of `trusted_private_hosts` are reached directly even where there is an egress proxy: they
    stand in the private network that such a proxy leads out of.

    Args:
        allowlist: Hosts that may be fetched from: `host`, `*.host`, each with an optional `:port`.
        trusted_private_hosts: `host` or `host:port` that may be in a private network, use plain
            http and other ports; the allowlist must name them too.
        tls_context: Verifies servers (`scene_pipeline.egress.tls_context`).
        egress_proxy: URL of the proxy that everything else goes through; it answers for addresses.
        limits: Bounds of each fetch.
        resolver: Looks names up; the system's when left out.
        clock: Monotonic seconds.
        network: Opens the sockets to checked addresses.

    Raises:
        ConfigurationError: A host list or the proxy's URL is malformed.
    """

    def __init__(
        self,
        allowlist: Iterable[str],
        trusted_private_hosts: Iterable[str],
        tls_context: ssl.SSLContext,
        *,
        egress_proxy: str | None = None,
        limits: FetchLimits | None = None,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.monotonic,
        network: httpcore.NetworkBackend | None = None,
    ) -> None:
        self._limits = limits or FetchLimits()
        self._clock = clock
        self._exchange = GuardedExchange(
            UrlPolicy.of(allowlist, trusted_private_hosts),
            tls_context,
            egress_proxy=egress_proxy,
            limits=self._limits,
            resolver=resolver,
            clock=clock,
            network=network,
        )

    def __enter__(self) -> "SafeFetcher":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections; the fetcher is not used afterwards."""
        self._exchange.close()

    def fetch(self, url: str, *, on_bytes: OnBytes | None = None) -> FetchedBytes:
        """Fetch one picture's bytes.

        Args:
            url: Given by whoever it was; nothing about it is trusted.
            on_bytes: Told about progress in this thread, once per chunk.

        Raises:
            FetchError: The one reason why there are no bytes, by `error_code`: those of
                `GuardedExchange.ask`, http_status_NNN, link_expired, content_encoding, too_large,
                not_image.
        """
        started = self._clock()
        limits = self._limits

        def read(answer: Answer) -> tuple[bytes, str | None]:
            received = bytearray()
            for chunk in body_of(answer, PICTURE, limits.max_bytes, on_bytes):
                received += chunk
            return bytes(received), declared_type(answer.headers) or None

        (data, declared), where = self._exchange.ask(
            url, read, accept=PICTURE.accept, total_seconds=limits.total_seconds
        )
        return FetchedBytes(data, declared, where, self._clock() - started)

    def download(
        self,
        url: str,
        target: Path,
        *,
        max_bytes: int,
        total_seconds: float,
        accept: str = "*/*",
        on_bytes: OnBytes | None = None,
    ) -> Downloaded:
        """Fetch a file of any kind and size into a new file, which is gone again after any error.

        Args:
            url: Given by whoever it was; nothing about it is trusted.
            target: Does not exist yet; made for its owner only.
            max_bytes: More is refused, by the declared length before anything is read.
            total_seconds: From the call to the last byte.
            accept: Media types as in an Accept header; what is declared to be another one is not
                read, what has no type is.
            on_bytes: Told about progress in this thread, once per chunk.

        Raises:
            FetchError: As `fetch`, but type_not_accepted for not_image; cannot_write where the
                disk does not take it.
            FileExistsError: `target` is there already.
        """
        wanted = wanted_file(accept)
        digest = hashlib.sha256()
        with new_file(target) as file:

            def write(answer: Answer) -> tuple[str | None, int]:
                size = 0
                for chunk in body_of(answer, wanted, max_bytes, on_bytes):
                    digest.update(chunk)
                    size += len(chunk)
                    write_whole(file, chunk)
                return declared_type(answer.headers) or None, size

            (declared, size), where = self._exchange.ask(
                url, write, accept=accept, total_seconds=total_seconds
            )
        return Downloaded(where, declared, size, digest.hexdigest())

    def probe(self, url: str) -> Probe:
        """Ask about a file without fetching it; at most `probe_seconds`, 5 by default.

        Raises:
            FetchError: As `fetch`, but for what concerns a body: the server cannot be reached, or
                does not have the file.
        """
        wanted = wanted_file("*/*")

        def read(answer: Answer) -> Probe:
            status, headers = answer.response.status, answer.headers
            if status in _REFUSED_QUESTION:
                return Probe(status)
            check_status(status, headers, answer.where, wanted=wanted)
            return Probe(
                status=status,
                content_type=_short(declared_type(headers)),
                size_bytes=declared_size(headers),
                etag=_short(headers.get("etag")),
                last_modified=_short(headers.get("last-modified")),
            )

        found, _ = self._exchange.ask(
            url,
            read,
            accept=wanted.accept,
            total_seconds=self._limits.probe_seconds,
            method="HEAD",
        )
        return found


def _short(value: str) -> str | None:
    """A header's value; None where it is absent or longer than any that means something."""
    return value if 0 < len(value) <= _MAX_VERSION_CHARACTERS else None
