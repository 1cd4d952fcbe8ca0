"""One guarded question to a server: the rules of every hop, the deadline over all of them.

Mode of operation: refuse first. A URL passes the rules of text, host and allowlist, its host's
addresses pass the table, each redirect passes all of it again. No cookies, no authorization, no
environment proxy, no decompression.

Belongs here: connections, requests and redirects. Does not belong here: what is done with the
answer (`media.fetch`).

It stands on httpcore rather than on httpx: httpx adds cookies, redirects, decompression and
environment proxies, which would all have to be switched off, and normalises URLs by its own rules.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

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
from scene_pipeline.media.responses import REDIRECT_STATUSES, Headers
from scene_pipeline.media.transport_errors import (
    TRANSPORT_ERRORS,
    explain_transport_error,
    over_deadline,
)
from scene_pipeline.media.urls import CheckedUrl, UrlPolicy, check_url

T = TypeVar("T")

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
    probe_seconds: float = 5.0
    """As `total_seconds`, of a question about a file that is not fetched."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no redirect; its body is still to be read."""

    response: httpcore.Response
    headers: Headers
    where: str
    """The redacted URL that gave it."""


class GuardedExchange:
    """Asks allowed hosts; thread safe. Its arguments are those of `media.fetch.SafeFetcher`."""

    def __init__(
        self,
        policy: UrlPolicy,
        tls_context: ssl.SSLContext,
        *,
        egress_proxy: str | None,
        limits: FetchLimits,
        resolver: Resolver | None,
        clock: Callable[[], float],
        network: httpcore.NetworkBackend | None,
    ) -> None:
        self._policy = policy
        self._limits = limits
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
                    dns_seconds=limits.dns_seconds,
                    inner=network,
                ),
            )

        self._direct = pool(self._reach, None)
        self._proxied = None
        if egress_proxy is not None:
            self._proxied = pool(lambda *_: "any", read_proxy(egress_proxy, tls_context))

    def close(self) -> None:
        """Release the connections."""
        self._direct.close()
        if self._proxied is not None:
            self._proxied.close()

    def ask(
        self,
        url: str,
        handle: Callable[[Answer], T],
        *,
        accept: str,
        total_seconds: float,
        method: Literal["GET", "HEAD"] = "GET",
    ) -> tuple[T, str]:
        """Ask, follow redirects, and let the answer be handled before the deadline.

        Args:
            url: Given by whoever it was; nothing about it is trusted.
            handle: Reads the answer; what it raises ends the exchange and the connection.
            accept: Media types, for the server.
            total_seconds: From the call to the end of `handle`.
            method: GET or HEAD.

        Returns:
            What `handle` gave, and the redacted URL that answered in the end.

        Raises:
            FetchError: invalid_url, blocked_scheme, blocked_host, blocked_port, blocked_address,
                the same with `redirect_` before it, redirect_missing_location, redirect_loop,
                redirect_too_many, dns, connect, proxy_refused, tls, timeout, deadline,
                connection_lost, short_body.
        """
        target = check_url(url, self._policy)
        deadline = Deadline(total_seconds, self._clock)
        head = _Head(method, accept)
        seen = {target.text}
        with deadline.active():
            for hop in range(self._limits.max_redirects + 1):
                try:
                    answer = self._request(target, head, handle, deadline, total_seconds)
                except FetchError as error:
                    if hop:
                        raise as_redirect_error(error) from error
                    raise
                if not isinstance(answer, _Redirect):
                    return answer, target.redacted
                target = next_hop(target, answer.location, self._policy)
                if target.text in seen:
                    raise redirect_error("loop", "goes round in a circle")
                seen.add(target.text)
        raise redirect_error("too_many", "is longer than is followed")

    def _reach(self, host: str, port: int) -> Reach:
        return "trusted" if self._policy.trusts(host, port) else "public"

    def _request(
        self,
        target: CheckedUrl,
        head: "_Head",
        handle: Callable[[Answer], T],
        deadline: Deadline,
        total_seconds: float,
    ) -> "T | _Redirect":
        is_direct = self._proxied is None or target.is_trusted_private
        pool = self._direct if is_direct or self._proxied is None else self._proxied
        limits = self._limits
        has_answer = False
        try:
            with pool.stream(
                head.method,
                _wire_url(target),
                headers=head.lines(target),
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
                handled = handle(Answer(response, headers, target.redacted))
        except TRANSPORT_ERRORS as error:
            if deadline.is_over:
                raise over_deadline(target.host, total_seconds) from error
            raise explain_transport_error(error, target.host, has_answer=has_answer) from error
        # a body without a length seems to end where the watchdog shut its socket down
        if deadline.is_fired:
            raise over_deadline(target.host, total_seconds)
        return handled


@dataclass(frozen=True, slots=True)
class _Redirect:
    location: str


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    accept: str

    def lines(self, target: CheckedUrl) -> list[tuple[str, str]]:
        return [
            ("Host", target.authority),
            ("Accept", self.accept),
            ("Accept-Encoding", "identity"),
            ("User-Agent", f"scene-pipeline/{__version__}"),
        ]


def _wire_url(target: CheckedUrl) -> httpcore.URL:
    return httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.target.encode(),
    )
