"""Posts to the webhook that SCENE_PIPELINE_ALERT_WEBHOOK_URL names.

Belongs here: one request and what its answer means. Does not belong here: what is said
(`pipeline.alerts.text`), when, and what is done about a failure (`pipeline.alerts.delivery`).

The address is a secret, since whoever knows it may write to the channel: it is in no message, log
or `repr`. It is dialled by the fetcher's rules: https, a public address that was checked (a private
one or plain http only for a host that SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS names), no redirects, no
environment proxy, one deadline over everything, and not a byte of the answer's body.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import httpcore

from scene_pipeline import __version__
from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ConfigurationError, FetchError
from scene_pipeline.media.network import Deadline, GuardedNetwork, Reach
from scene_pipeline.media.proxy import read_proxy
from scene_pipeline.media.responses import Headers, retry_after_seconds
from scene_pipeline.media.transport_errors import TRANSPORT_ERRORS, explain_transport_error
from scene_pipeline.media.urls import CheckedUrl, UrlPolicy, check_url
from scene_pipeline.pipeline.alerts.text import Message
from scene_pipeline.settings import Settings

POST_SECONDS = 5.0
"""From the call to the answer's headers, lookup and handshake included."""
_RETRYABLE_STATUSES = frozenset({408, 425, 429})

Verdict = Literal["delivered", "refused", "unreachable"]
"""Taken; refused for good; or to be tried again."""


@dataclass(frozen=True, slots=True)
class PostResult:
    """What came of one post."""

    verdict: Verdict
    reason: str
    """In words, with the status or the error's code; never with the address."""
    retry_after_seconds: float | None = None


class AlertWebhook:
    """The webhook of this deployment.

    Args:
        url: Its address.
        settings: Trusted hosts, proxy and CA file.

    Raises:
        ConfigurationError: The address cannot be used (`alert_webhook_invalid`), or the proxy, a
            host list or the CA file.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._target, self._policy = _checked(url, settings)
        context = tls_context(settings.ssl_cert_file)
        is_direct = settings.egress_proxy is None or self._target.is_trusted_private
        proxy = None if is_direct else read_proxy(settings.egress_proxy or "", context)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            proxy=proxy,
            max_connections=1,
            http2=False,
            retries=0,
            network_backend=GuardedNetwork(
                self._reach if is_direct else _any_reach, dns_seconds=POST_SECONDS
            ),
        )

    @property
    def host(self) -> str:
        """Where posts go, for people."""
        return self._target.authority

    def close(self) -> None:
        """Release the connection."""
        self._pool.close()

    def post(self, message: Message) -> PostResult:
        """Post a message and wait for the answer, at most `POST_SECONDS`.

        Posts of the same alerts carry the same `Idempotency-Key`.
        """
        body = json.dumps(message.payload()).encode()
        ids = ",".join(map(str, message.alert_ids))
        headers = [
            ("Host", self._target.authority),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Accept-Encoding", "identity"),
            ("User-Agent", f"scene-pipeline/{__version__}"),
            ("Idempotency-Key", hashlib.sha256(f"alerts:{ids}".encode()).hexdigest()),
        ]
        deadline = Deadline(POST_SECONDS)
        try:
            with (
                deadline.active(),
                self._pool.stream(
                    "POST",
                    _wire_url(self._target),
                    headers=headers,
                    content=body,
                    extensions={"timeout": dict.fromkeys(("connect", "read", "write"), 5.0)},
                ) as response,
            ):
                return _judged(response.status, Headers(response.headers))
        except FetchError as error:
            return PostResult("unreachable", f"{error.message} [{error.error_code}]")
        except TRANSPORT_ERRORS as error:
            if deadline.is_over:
                reason = f"{self.host} did not answer within {POST_SECONDS:g} s. [deadline]"
                return PostResult("unreachable", reason)
            known = explain_transport_error(error, self.host, has_answer=False)
            return PostResult("unreachable", f"{known.message} [{known.error_code}]")

    def _reach(self, host: str, port: int) -> Reach:
        return "trusted" if self._policy.trusts(host, port) else "public"


def open_webhook(settings: Settings) -> AlertWebhook | None:
    """The webhook that the settings name; None where they name none.

    Raises:
        ConfigurationError: It cannot be used.
    """
    if settings.alert_webhook_url is None:
        return None
    return AlertWebhook(settings.alert_webhook_url, settings)


def _checked(url: str, settings: Settings) -> tuple[CheckedUrl, UrlPolicy]:
    """Read the address by the fetcher's rules; the one host that it names is allowed."""
    try:
        authority = urlsplit(url).netloc.rpartition("@")[2]
        policy = UrlPolicy.of([authority], settings.trusted_private_hosts)
        return check_url(url, policy), policy
    except (ValueError, FetchError, ConfigurationError) as error:
        if isinstance(error, ConfigurationError):
            UrlPolicy.of((), settings.trusted_private_hosts)  # where that list is the culprit
        reason = f" {error.message}" if isinstance(error, FetchError) else ""
        raise ConfigurationError(
            f"SCENE_PIPELINE_ALERT_WEBHOOK_URL is not an address that alerts can go to.{reason}",
            code="alert_webhook_invalid",
            next_action="Give an https address; name host:port in"
            " SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS where it stands in a private network.",
        ) from None


def _judged(status: int, headers: Headers) -> PostResult:
    if 200 <= status <= 299:
        return PostResult("delivered", f"answered {status}")
    reason = f"The webhook answered {status}. [http_status_{status}]"
    if status in _RETRYABLE_STATUSES or status >= 500:
        wait = retry_after_seconds(headers.get("retry-after"))
        return PostResult("unreachable", reason, wait)
    return PostResult("refused", reason)


def _any_reach(_host: str, _port: int) -> Reach:
    return "any"


def _wire_url(target: CheckedUrl) -> httpcore.URL:
    return httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.target.encode(),
    )
