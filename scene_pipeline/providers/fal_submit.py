"""The paid POST, sent at most once.

Mode of operation: fal-client repeats a POST up to ten times on dropped connections, timeouts, 408,
409 and 429, without an idempotency key; each repetition can be a second paid picture (measured: 3
to 4 accepted POSTs for one `submit()`). `SubmitGuard` sits under it and turns every such moment
into an error of ours, which fal-client does not know and therefore does not retry.

Belongs here: the guard. Does not belong here: questions that may be asked
again (`fal_transport`).
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus

import httpx

from scene_pipeline.providers.answers import Answer
from scene_pipeline.providers.base import Submission
from scene_pipeline.providers.fal_addresses import read_submission
from scene_pipeline.providers.fal_errors import ambiguous_submit, submit_refusal
from scene_pipeline.providers.wire import (
    NEVER_SENT,
    OverlongAnswerError,
    read_bounded,
    timeouts,
    unreachable,
)

MAX_SUBMIT_ANSWER_BYTES = 64 * 1024
_ACCEPTED = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED})


class SubmitGuard(httpx.BaseTransport):
    """Lets exactly one POST out per `one_send()` and answers for what became of it.

    Args:
        inner: The keyed transport.
        secrets: Texts that must not appear in messages.
        timeout_seconds: From the sending to the end of the answer.
    """

    def __init__(
        self, inner: httpx.BaseTransport, *, secrets: tuple[str, ...], timeout_seconds: float
    ) -> None:
        self._inner = inner
        self._secrets = secrets
        self._timeout_seconds = timeout_seconds
        self._calls = threading.local()

    @contextmanager
    def one_send(self) -> Iterator[None]:
        """Permit one POST to the calling thread; a second one is held back whoever asks for it."""
        self._calls.sends_left = 1
        self._calls.accepted = None
        try:
            yield
        finally:
            self._calls.sends_left = 0

    @property
    def is_spent(self) -> bool:
        """Whether this thread's permit is used: from then on, any failure is ambiguous."""
        return getattr(self._calls, "sends_left", 0) == 0

    @property
    def accepted(self) -> Submission | None:
        """What this thread's POST came to; None where none went through this guard."""
        accepted: Submission | None = getattr(self._calls, "accepted", None)
        return accepted

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the POST once; give fal-client an acceptance or raise an error of ours.

        Raises:
            AmbiguousSubmitError: It may have been accepted.
            ProviderError: It was refused or never left.
        """
        endpoint = request.url.path.lstrip("/")
        if self.is_spent:
            raise ambiguous_submit(endpoint, "a repetition had to be held back")
        self._calls.sends_left = 0
        answer = self._send_once(endpoint, request)
        if answer.status not in _ACCEPTED:
            raise submit_refusal(endpoint, answer, self._secrets)
        body = answer.json()
        submission = read_submission(endpoint, body) if isinstance(body, dict) else None
        if submission is None:
            raise ambiguous_submit(endpoint, "its answer names no request id")
        self._calls.accepted = submission
        # fal-client's handle gets the checked addresses, whatever the answer named.
        return httpx.Response(HTTPStatus.OK, json=asdict(submission))

    def _send_once(self, endpoint: str, request: httpx.Request) -> Answer:
        deadline = time.monotonic() + self._timeout_seconds
        request.extensions = {
            **request.extensions,
            "timeout": timeouts(self._timeout_seconds).as_dict(),
        }
        try:
            response = self._inner.handle_request(request)
            try:
                body = read_bounded(response, MAX_SUBMIT_ANSWER_BYTES, deadline)
            finally:
                response.close()
        except NEVER_SENT as error:
            raise unreachable("Fal", error, self._secrets, charge_is_excluded=True) from error
        except (httpx.TransportError, OverlongAnswerError) as error:
            what = f"no whole answer came ({type(error).__name__})"
            raise ambiguous_submit(endpoint, what) from error
        return Answer(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
