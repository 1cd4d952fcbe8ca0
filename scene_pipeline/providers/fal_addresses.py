"""Which addresses are Fal's own, and how a request's URLs are built from its id.

Belongs here: pure checks on host names, endpoints and URLs. Does not belong here: any connection.
The key travels to these addresses and to no other (`fal_transport.KeyedTransport`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import Submission

QUEUE_ORIGIN = "https://queue.fal.run"
API_ORIGIN = "https://api.fal.ai"

_EXACT_HOSTS = frozenset({"fal.run", "queue.fal.run", "rest.fal.ai", "api.fal.ai"})
_HOST_SUFFIX = ".fal.run"
_NAMESPACES = frozenset({"workflows", "comfy"})
"""First path segments that come before the owner: "workflows/owner/app"."""

_SEGMENT = r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*"
_ENDPOINT = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{1,7}}")
_MAX_URL_LENGTH = 2048
_MAX_REQUEST_ID_LENGTH = 256


def is_fal_host(host: str) -> bool:
    """Whether a host name, lower case and in ASCII, is one the key may go to."""
    return host in _EXACT_HOSTS or host.endswith(_HOST_SUFFIX)


def is_fal_url(url: str) -> bool:
    """Whether a URL that somebody gave us may be asked with the key.

    It must be plain printable ASCII, https, on one of Fal's hosts, on port 443 and without user
    information; anything else is somebody else's address or a trick.
    """
    if not 0 < len(url) <= _MAX_URL_LENGTH or not url.isascii() or not url.isprintable():
        return False
    if any(character in url for character in " \\@"):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and is_fal_host(parts.hostname or "") and port in {None, 443}


def checked_endpoint(endpoint: str) -> str:
    """Give a model's name back when it cannot change the meaning of the URL it is put into.

    Raises:
        ProviderError: code "model_invalid"; a query string in it could name a foreign webhook.
    """
    if len(endpoint) <= 200 and _ENDPOINT.fullmatch(endpoint):
        return endpoint
    message = f"{endpoint[:80]!r} is not the name of a Fal model."
    raise ProviderError(
        message,
        code="model_invalid",
        next_action='Name a model as Fal does: "fal-ai/flux/schnell".',
        charge="not_charged",
    )


@dataclass(frozen=True, slots=True)
class RequestUrls:
    """The three addresses of one request, each safe to ask with the key."""

    status: str
    response: str
    cancel: str


def built_urls(endpoint: str, request_id: str) -> RequestUrls:
    """Build the addresses from the id, as Fal does: without the endpoint's sub-path."""
    segments = checked_endpoint(endpoint).split("/")
    application = "/".join(segments[: 3 if segments[0] in _NAMESPACES else 2])
    base = f"{QUEUE_ORIGIN}/{application}/requests/{quote(request_id, safe='')}"
    return RequestUrls(status=f"{base}/status", response=base, cancel=f"{base}/cancel")


def request_urls(endpoint: str, submission: Submission) -> RequestUrls:
    """The addresses to ask for a submission: those that were told, where they are Fal's own.

    An address on a foreign host is never followed; the one built from the id takes its place.
    """
    built = built_urls(endpoint, submission.request_id)
    return RequestUrls(
        status=_own(submission.status_url) or built.status,
        response=_own(submission.response_url) or built.response,
        cancel=_own(submission.cancel_url) or built.cancel,
    )


def read_submission(endpoint: str, answer: Mapping[str, object]) -> Submission | None:
    """Read the answer to a submit, or None where it names no usable request id."""
    request_id = answer.get("request_id")
    if not isinstance(request_id, str) or not is_request_id(request_id):
        return None
    told = Submission(
        request_id=request_id,
        status_url=_text(answer.get("status_url")),
        response_url=_text(answer.get("response_url")),
        cancel_url=_text(answer.get("cancel_url")),
    )
    urls = request_urls(endpoint, told)
    position = answer.get("queue_position")
    return Submission(
        request_id=request_id,
        status_url=urls.status,
        response_url=urls.response,
        cancel_url=urls.cancel,
        queue_position=position if isinstance(position, int) else None,
    )


def is_request_id(text: str) -> bool:
    """Whether a text can serve as a request id and be put into a path."""
    return (
        0 < len(text) <= _MAX_REQUEST_ID_LENGTH
        and text.isascii()
        and text.isprintable()
        and text.strip(". ") != ""
    )


def _own(url: str | None) -> str | None:
    return url if url is not None and is_fal_url(url) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
