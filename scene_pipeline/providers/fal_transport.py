"""The only connections to Fal: the way out, the key, the bounds of time and size.

Belongs here: transports, and questions that are safe to repeat. Does not belong here: the paid POST
(`fal_submit`) and what answers mean (`fal_errors`).
"""

import functools
import ssl
import time
from typing import TYPE_CHECKING

import httpx

from scene_pipeline.errors import ConfigurationError, ProviderError
from scene_pipeline.providers.fal_addresses import is_fal_host
from scene_pipeline.providers.fal_complaints import Answer, clean_text
from scene_pipeline.providers.fal_errors import unreadable_answer

if TYPE_CHECKING:
    from fal_client import SyncClient

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


class KeyedTransport(httpx.BaseTransport):
    """Adds the key at the last moment, and only towards Fal's own hosts over https.

    The key is in no client, request or response object, so that no exception, log or redirect can
    carry it; a request to any other address is refused before a connection is made.
    """

    def __init__(self, key: str, inner: httpx.BaseTransport) -> None:
        self._authorization = f"Key {key}"
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to Fal.

        Raises:
            ProviderError: code "foreign_host": the address is not Fal's; nothing was sent.
        """
        url = request.url
        is_own = (
            url.scheme == "https"
            and is_fal_host(url.host)
            and url.port in {None, 443}
            and not url.userinfo
        )
        if not is_own:
            message = f"The Fal key is not sent to {url.host or 'an address without a host'}."
            raise ProviderError(
                message,
                code="foreign_host",
                next_action="Unset FAL_RUN_HOST and FAL_QUEUE_RUN_HOST.",
                charge="not_charged",
            )
        headers = request.headers.copy()
        headers["Authorization"] = self._authorization
        keyed = httpx.Request(
            request.method,
            url,
            headers=headers,
            stream=request.stream,
            extensions=dict(request.extensions),
        )
        return self._inner.handle_request(keyed)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def checked_key(key: str) -> str:
    """Give a Fal key back, without the spaces around it.

    Raises:
        ConfigurationError: It is empty or cannot be put into a header.
    """
    key = key.strip()
    if key and key.isascii() and key.isprintable() and " " not in key:
        return key
    message = "FAL_KEY is empty or holds characters that a key cannot have."
    raise ConfigurationError(
        message,
        code="fal_key_invalid",
        next_action="Copy the key again from your Fal account's page.",
    )


def secret_parts(key: str) -> tuple[str, ...]:
    """The texts of a key that must not appear in any message: the whole and its long parts."""
    return (key, *(part for part in key.split(":") if len(part) >= 8))


class QuestionClient:
    """Asks Fal about requests that were accepted; every question is safe to repeat.

    Args:
        transport: The keyed transport.
        secrets: Texts that must not appear in messages.
        timeout_seconds: From the asking to the end of the answer.
    """

    def __init__(
        self, transport: httpx.BaseTransport, *, secrets: tuple[str, ...], timeout_seconds: float
    ) -> None:
        self._secrets = secrets
        self._timeout_seconds = timeout_seconds
        self._client = httpx.Client(
            transport=transport,
            timeout=timeouts(timeout_seconds),
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    def ask(
        self,
        method: str,
        url: str,
        *,
        endpoint: str,
        max_bytes: int,
        parameters: dict[str, str] | None = None,
    ) -> Answer:
        """Ask once and read the answer whole, whatever its status.

        Raises:
            ProviderError: Nothing usable came back; `retryable`.
        """
        deadline = time.monotonic() + self._timeout_seconds
        try:
            address = httpx.URL(url).copy_merge_params(parameters or {})
            with self._client.stream(method, address) as response:
                body = read_bounded(response, max_bytes, deadline)
        except NEVER_SENT as error:
            raise unreachable(error, self._secrets, charge_is_excluded=False) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            what = f"the connection failed ({type(error).__name__})"
            raise unreadable_answer(endpoint, what) from error
        except OverlongAnswerError as error:
            raise unreadable_answer(endpoint, str(error)) from error
        return Answer(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


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


def client_over(transport: httpx.BaseTransport, timeout_seconds: float) -> "SyncClient":
    """A real fal-client whose every request goes through a transport of ours.

    `_client` is a cached property, so the value in the instance's `__dict__` wins. A fal-client
    that no longer keeps it there would post around it: it is refused instead.
    """
    from fal_client import SyncClient  # noqa: PLC0415  # 0.3 s of imports, where used

    if not isinstance(vars(SyncClient).get("_client"), functools.cached_property):
        message = "The installed fal-client cannot be kept from sending a paid request twice."
        raise ConfigurationError(
            message,
            code="fal_client_unsupported",
            next_action="Install the locked version of fal-client (requirements.txt).",
        )
    client = SyncClient(key="held by the transport", default_timeout=timeout_seconds)
    vars(client)["_client"] = httpx.Client(
        transport=transport,
        timeout=timeouts(timeout_seconds),
        follow_redirects=False,
        trust_env=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )
    return client


class OverlongAnswerError(Exception):
    """An answer was longer or slower than it may be."""


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
    error: Exception, secrets: tuple[str, ...], *, charge_is_excluded: bool
) -> ProviderError:
    """The error for a connection that did not come about."""
    reason = clean_text(str(error), secrets) or type(error).__name__
    return ProviderError(
        f"Fal cannot be reached: {reason}.",
        code="provider_unreachable",
        next_action="Check the network, SCENE_PIPELINE_EGRESS_PROXY and SSL_CERT_FILE.",
        retryable=True,
        charge="not_charged" if charge_is_excluded else "unknown",
    )
