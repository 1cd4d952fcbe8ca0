"""Which failures of the paid POST prove that it never left, one by one."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from scene_pipeline.errors import AmbiguousSubmitError, ProviderError
from scene_pipeline.providers.fal_submit import SubmitGuard

URL = "https://queue.fal.run/fal-ai/flux/schnell"
NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}


def kinds(base: type[httpx.TransportError]) -> Iterator[type[httpx.TransportError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def failure(handler: Callable[[httpx.Request], httpx.Response]) -> ProviderError:
    guard = SubmitGuard(httpx.MockTransport(handler), secrets=(), timeout_seconds=5)
    with guard.one_send(), pytest.raises(ProviderError) as caught:
        guard.handle_request(httpx.Request("POST", URL, json={}))
    return caught.value


def answered(body: bytes) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(body))


@pytest.mark.parametrize("kind", list(kinds(httpx.TransportError)), ids=lambda kind: kind.__name__)
def test_only_failures_before_the_first_byte_cost_nothing(
    kind: type[httpx.TransportError],
) -> None:
    def broken(_request: httpx.Request) -> httpx.Response:
        raise kind("broken")

    error = failure(broken)

    is_certain = kind.__name__ in NEVER_SENT
    assert error.charge == ("not_charged" if is_certain else "unknown")
    assert error.retryable == is_certain
    assert isinstance(error, AmbiguousSubmitError) != is_certain


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"request_id": 1}', b"\xff"])
def test_an_acceptance_without_a_usable_id_is_ambiguous(body: bytes) -> None:
    error = failure(lambda _request: answered(body))

    assert isinstance(error, AmbiguousSubmitError)


@pytest.mark.parametrize("request_id", ["", "..", "a\nb", "x" * 300])
def test_an_id_that_cannot_be_asked_for_is_ambiguous(request_id: str) -> None:
    error = failure(lambda _request: answered(json.dumps({"request_id": request_id}).encode()))

    assert isinstance(error, AmbiguousSubmitError)


def test_the_permit_of_one_submit_does_not_outlive_it() -> None:
    sent: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answered(b'{"request_id": "1"}')

    guard = SubmitGuard(httpx.MockTransport(accept), secrets=(), timeout_seconds=5)
    with guard.one_send():
        guard.handle_request(httpx.Request("POST", URL, json={}))
    with guard.one_send():
        pass
    with pytest.raises(AmbiguousSubmitError):
        guard.handle_request(httpx.Request("POST", URL, json={}))

    assert len(sent) == 1
