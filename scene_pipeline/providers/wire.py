"""The way to a service and the bounds of its answers, the same for every adapter.

Belongs here: transports, time limits, bounded reading, and the error for a service that cannot be
reached. Does not belong here: keys and to whom they may go (`bearer`, `fal_transport`), and what
answers say (`answers`).
"""

import ssl
import time

import httpx

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.answers import clean_text

CONNECT_TIMEOUT_SECONDS = 10.0
MAX_CONNECTIONS = 100

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Failures of finding, reaching or greeting the other side: no byte of the request had left."""


class OverlongAnswerError(Exception):
    """An answer was longer or slower than it may be."""


def open_transport(
    tls_context: ssl.SSLContext, egress_proxy: str | None, *, keeps_alive: bool
) -> httpx.HTTPTransport:
    """Open the way out: our TLS roots, the one proxy, nothing from the environment.

    Args:
        tls_context: From `egress.tls_context`.
        egress_proxy: URL of the proxy, or None for a direct connection.
        keeps_alive: Whether connections are used again. Not for submits: a POST on a connection
            that the server has just closed looks exactly like a lost answer.
    """
    limits = httpx.Limits(
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=MAX_CONNECTIONS if keeps_alive else 0,
        keepalive_expiry=30.0,
    )
    return httpx.HTTPTransport(
        verify=tls_context, trust_env=False, proxy=egress_proxy, limits=limits, retries=0
    )


def has_plain_origin(url: httpx.URL) -> bool:
    """Whether an address is https, on its usual port and without user information."""
    return url.scheme == "https" and url.port in {None, 443} and not url.userinfo


def read_bounded(response: httpx.Response, max_bytes: int, deadline: float) -> bytes:
    """Read a body as it was sent.

    Args:
        response: Not read yet.
        max_bytes: Longest body.
        deadline: Latest moment of `time.monotonic()`.

    Raises:
        OverlongAnswerError: It is longer or slower.
    """
    chunks = bytearray()
    for chunk in response.iter_raw():
        chunks += chunk
        if len(chunks) > max_bytes:
            message = f"it is longer than {max_bytes} bytes"
            raise OverlongAnswerError(message)
        if time.monotonic() > deadline:
            message = "it took too long to arrive"
            raise OverlongAnswerError(message)
    return bytes(chunks)


def timeouts(seconds: float) -> httpx.Timeout:
    """The bounds of each single wait; connecting gets at most ten seconds."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_SECONDS))


def unreachable(
    service: str, error: Exception, secrets: tuple[str, ...], *, charge_is_excluded: bool
) -> ProviderError:
    """The error for a connection that did not come about.

    Args:
        service: The service's name, for the message.
        error: One of `NEVER_SENT`.
        secrets: Texts that must not appear in the message.
        charge_is_excluded: Whether the request itself was on its way, rather than a question about
            one that was accepted before.
    """
    reason = clean_text(str(error), secrets) or type(error).__name__
    return ProviderError(
        f"{service} cannot be reached: {reason}.",
        code="provider_unreachable",
        next_action="Check the network, SCENE_PIPELINE_EGRESS_PROXY and SSL_CERT_FILE.",
        retryable=True,
        charge="not_charged" if charge_is_excluded else "unknown",
    )
