"""Connections to one service by its token: the way out, and the bounds of time and size.

Belongs here: what every adapter that speaks plain HTTP shares. Does not belong here: what answers
mean, and what follows from one that did not come; that is for the adapter, which knows whether a
request is paid.
"""

import ssl
import time
from collections.abc import Collection, Mapping
from types import MappingProxyType

import httpx

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.answers import Answer
from scene_pipeline.providers.wire import (
    NEVER_SENT,
    OverlongAnswerError,
    has_plain_origin,
    open_transport,
    read_bounded,
    timeouts,
    unreachable,
)


class LostAnswerError(Exception):
    """The request may have left, and no whole answer to it came."""


class BearerClient:
    """Sends each request exactly once, follows no redirect, and reads the answer within bounds.

    The token is added at the last moment, and only towards the service's own hosts over https: it
    is in no object that an exception or a log could carry. There is no `httpx.Client` in between,
    since that writes every address into the log, and one may hold a signed query.

    Args:
        service: The service's name, for messages.
        token: From `keys.checked_token`; None for a service that is used without one.
        hosts: The service's own hosts; nobody else is asked.
        tls_context: Trust roots (`egress.tls_context`).
        egress_proxy: URL of the only proxy, or None.
        timeout_seconds: From the sending to the end of the answer.
        keeps_alive: Whether connections are used again; not for what is paid, since a request on a
            connection that the server has just closed looks exactly like a lost answer.
    """

    def __init__(
        self,
        service: str,
        token: str | None,
        hosts: Collection[str],
        tls_context: ssl.SSLContext,
        egress_proxy: str | None,
        *,
        timeout_seconds: float,
        keeps_alive: bool,
    ) -> None:
        self._service = service
        self._secrets = () if token is None else (token,)
        self._authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._hosts = frozenset(hosts)
        self._timeout_seconds = timeout_seconds
        self._transport = open_transport(tls_context, egress_proxy, keeps_alive=keeps_alive)

    def exchange(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        headers: Mapping[str, str] = MappingProxyType({}),
        content: bytes | None = None,
    ) -> Answer:
        """Ask once and read the answer whole, whatever its status.

        Args:
            method: "GET" or "POST".
            url: Complete, with its query.
            max_bytes: Longest answer.
            headers: Further ones.
            content: The request's body.

        Raises:
            ProviderError: It was certainly never sent ("provider_unreachable", "foreign_host").
            LostAnswerError: It may have been.
        """
        deadline = time.monotonic() + self._timeout_seconds
        request = httpx.Request(
            method,
            self._own(url),
            headers={"Accept-Encoding": "identity", **headers, **self._authorization},
            content=content,
            extensions={"timeout": timeouts(self._timeout_seconds).as_dict()},
        )
        try:
            response = self._transport.handle_request(request)
            try:
                body = read_bounded(response, max_bytes, deadline)
            finally:
                response.close()
        except NEVER_SENT as error:
            raise unreachable(
                self._service, error, self._secrets, charge_is_excluded=True
            ) from error
        except (httpx.TransportError, OverlongAnswerError) as error:
            raise LostAnswerError(type(error).__name__) from error
        return Answer(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _own(self, text: str) -> httpx.URL:
        """An address, where it is the service's own."""
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            url = httpx.URL()
        if has_plain_origin(url) and url.host in self._hosts:
            return url
        raise ProviderError(
            f"{url.host or 'An address without a host'} is not asked in place of {self._service}.",
            code="foreign_host",
            charge="not_charged",
        )
