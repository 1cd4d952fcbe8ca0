"""The only connections to Fal: to whom its key goes, and how its client is held.

Belongs here: transports, and questions that are safe to repeat. Does not belong here: the paid POST
(`fal_submit`) and what answers mean (`fal_errors`).
"""

import functools
import time
from typing import TYPE_CHECKING

import httpx

from scene_pipeline.errors import ConfigurationError, ProviderError
from scene_pipeline.providers.answers import Answer
from scene_pipeline.providers.fal_addresses import is_fal_host
from scene_pipeline.providers.fal_errors import unreadable_answer
from scene_pipeline.providers.keys import checked_token
from scene_pipeline.providers.wire import (
    NEVER_SENT,
    OverlongAnswerError,
    has_plain_origin,
    read_bounded,
    timeouts,
    unreachable,
)

if TYPE_CHECKING:
    from fal_client import SyncClient


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
        if not (has_plain_origin(url) and is_fal_host(url.host)):
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
    return checked_token(
        key,
        variable="FAL_KEY",
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
            raise unreachable("Fal", error, self._secrets, charge_is_excluded=False) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            what = f"the connection failed ({type(error).__name__})"
            raise unreadable_answer(endpoint, what) from error
        except OverlongAnswerError as error:
            raise unreadable_answer(endpoint, str(error)) from error
        return Answer(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


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
