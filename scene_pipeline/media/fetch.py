"""The only code that fetches a URL we were given.

Mode of operation: refuse first. A URL passes the rules of text, host and allowlist, its host's
addresses pass the table, each redirect passes all of it again; then at most `max_bytes` are read
before the deadline. No cookies, no authorization, no environment proxy, no decompression.

Belongs here: one class. Does not belong here: what the bytes are (`media.inspection`).

It stands on httpcore rather than on httpx: httpx adds cookies, redirects, decompression and
environment proxies, which would all have to be switched off, and normalises URLs by its own rules.
"""

import logging
import re
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

import httpcore

from scene_pipeline import __version__
from scene_pipeline.errors import FetchError
from scene_pipeline.media.network import (
    Deadline,
    GuardedNetwork,
    Reach,
    Resolver,
    resolve_with_system,
)
from scene_pipeline.media.proxy import read_proxy
from scene_pipeline.media.redirects import as_redirect_error, next_hop, redirect_error
from scene_pipeline.media.responses import (
    REDIRECT_STATUSES,
    Headers,
    check_headers,
    check_status,
    declared_type,
    too_large,
)
from scene_pipeline.media.transport_errors import (
    TRANSPORT_ERRORS,
    explain_transport_error,
    over_deadline,
)
from scene_pipeline.media.urls import CheckedUrl, UrlPolicy, check_url

OnBytes = Callable[[int, int | None], None]
"""Told bytes received so far and, where declared, the whole size."""

_log = logging.getLogger(__name__)
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]+")
_MAX_CONNECTIONS = 64
_KEEPALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch; times in seconds."""

    max_bytes: int = 25 * 2**20
    total_seconds: float = 60.0
    """From the call to the last byte, redirects, lookups and headers included."""
    dns_seconds: float = 5.0
    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    """Longest silence between two reads."""
    pool_seconds: float = 5.0
    """Longest wait for one of the connections shared by all threads."""
    max_redirects: int = 3


@dataclass(frozen=True, slots=True)
class FetchedBytes:
    """A body that arrived whole, and nothing else is known about it."""

    data: bytes
    declared_content_type: str | None
    """What the server said, in lower case and without parameters; not to be believed."""
    final_url_redacted: str
    """Where it came from in the end, without query."""
    seconds: float


class SafeFetcher:
    """Fetches pictures from allowed hosts; thread safe, one per process.

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
        self._policy = UrlPolicy.of(allowlist, trusted_private_hosts)
        self._limits = limits or FetchLimits()
        self._clock = clock

        def pool(
            reach: Callable[[str, int], Reach], proxy: httpcore.Proxy | None
        ) -> httpcore.ConnectionPool:
            return httpcore.ConnectionPool(
                ssl_context=tls_context,
                proxy=proxy,
                max_connections=_MAX_CONNECTIONS,
                keepalive_expiry=_KEEPALIVE_SECONDS,
                http2=False,
                retries=0,
                network_backend=GuardedNetwork(
                    reach,
                    resolver=resolver or resolve_with_system,
                    dns_seconds=self._limits.dns_seconds,
                    inner=network,
                ),
            )

        self._direct = pool(self._reach, None)
        self._proxied = None
        if egress_proxy is not None:
            self._proxied = pool(lambda *_: "any", read_proxy(egress_proxy, tls_context))

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
        self._direct.close()
        if self._proxied is not None:
            self._proxied.close()

    def fetch(self, url: str, *, on_bytes: OnBytes | None = None) -> FetchedBytes:
        """Fetch one picture's bytes.

        Args:
            url: Given by whoever it was; nothing about it is trusted.
            on_bytes: Told about progress in this thread, once per chunk.

        Raises:
            FetchError: The one reason why there are no bytes, by `error_code`: invalid_url,
                blocked_scheme, blocked_host, blocked_port, blocked_address, the same with
                `redirect_` before it, redirect_missing_location, redirect_loop,
                redirect_too_many, dns, connect, proxy_refused, tls, timeout, deadline,
                connection_lost, http_status_NNN, link_expired, content_encoding, too_large,
                not_image, short_body.
        """
        started = self._clock()
        target = check_url(url, self._policy)
        deadline = Deadline(self._limits.total_seconds, self._clock)
        seen = {target.text}
        with deadline.active():
            for hop in range(self._limits.max_redirects + 1):
                try:
                    answer = self._request(target, deadline, on_bytes)
                except FetchError as error:
                    if hop:
                        raise as_redirect_error(error) from error
                    raise
                if isinstance(answer, _Body):
                    seconds = self._clock() - started
                    return FetchedBytes(answer.data, answer.declared, target.redacted, seconds)
                target = next_hop(target, answer.location, self._policy)
                if target.text in seen:
                    raise redirect_error("loop", "goes round in a circle")
                seen.add(target.text)
        raise redirect_error("too_many", "is longer than is followed")

    def _reach(self, host: str, port: int) -> Reach:
        return "trusted" if self._policy.trusts(host, port) else "public"

    def _request(
        self, target: CheckedUrl, deadline: Deadline, on_bytes: OnBytes | None
    ) -> "_Body | _Redirect":
        is_direct = self._proxied is None or target.is_trusted_private
        pool = self._direct if is_direct or self._proxied is None else self._proxied
        limits = self._limits
        has_answer = False
        try:
            with pool.stream(
                "GET",
                _wire_url(target),
                headers=_request_headers(target),
                extensions={
                    "timeout": {
                        "connect": limits.connect_seconds,
                        "read": limits.read_seconds,
                        "write": limits.read_seconds,
                        "pool": limits.pool_seconds,
                    }
                },
            ) as response:
                has_answer = True
                headers = Headers(response.headers)
                if response.status in REDIRECT_STATUSES:
                    return _Redirect(headers.get("location"))
                check_status(response.status, headers, target.redacted)
                return self._read(response, headers, target.redacted, on_bytes)
        except TRANSPORT_ERRORS as error:
            if deadline.is_over:
                raise over_deadline(target.host, limits.total_seconds) from error
            raise explain_transport_error(error, target.host, has_answer=has_answer) from error

    def _read(
        self, response: httpcore.Response, headers: Headers, where: str, on_bytes: OnBytes | None
    ) -> "_Body":
        limit = self._limits.max_bytes
        try:
            size = check_headers(headers, limit, where)
        except FetchError as error:
            if error.error_code == "not_image":
                _log.info("%s answered no picture but %r", where, _beginning(response))
            raise
        received = bytearray()
        for chunk in response.iter_stream():
            received += chunk
            if len(received) > limit:
                raise too_large(where, limit)
            if on_bytes is not None:
                on_bytes(len(received), size)
        return _Body(bytes(received), declared_type(headers) or None)


@dataclass(frozen=True, slots=True)
class _Body:
    data: bytes
    declared: str | None


@dataclass(frozen=True, slots=True)
class _Redirect:
    location: str


def _wire_url(target: CheckedUrl) -> httpcore.URL:
    return httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.target.encode(),
    )


def _request_headers(target: CheckedUrl) -> list[tuple[str, str]]:
    return [
        ("Host", target.authority),
        ("Accept", "image/png,image/jpeg,image/webp"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", f"scene-pipeline/{__version__}"),
    ]


def _beginning(response: httpcore.Response) -> str:
    """At most 120 printable characters of a refused body, to show what a server says instead."""
    try:
        chunk = next(iter(response.iter_stream()), b"")
    except TRANSPORT_ERRORS:
        return ""
    return _UNPRINTABLE.sub(b" ", chunk[:480]).decode("ascii")[:120]
