"""An image service in this process that does what the test's script says, and counts its money.

It stands in for the provider's adapter where thousands of generations have to be quick; its
pictures are fetched over real HTTP. What the wire looks like is the Fal stand-in's part.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from scene_pipeline.errors import AmbiguousSubmitError, ProviderError
from scene_pipeline.providers.base import (
    Capabilities,
    GenerationResult,
    ImageRequest,
    LostRequest,
    Progress,
    ProviderImage,
    ReferenceLimits,
    Submission,
)
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline_tests.standins.pictures import encode, scene_file

Fault = Literal[
    "none",
    "lost_after_acceptance",
    "lost_before_acceptance",
    "lost_and_history_down",
    "too_busy",
    "refused",
    "dies_uncharged",
    "dies_charged",
    "dies_for_good",
    "does_not_answer",
    "picture_expired",
    "picture_unavailable",
    "blank",
]
"""What goes wrong, until the test says otherwise; each is one way that a paid request can end."""

_LOST_ONCE: frozenset[Fault] = frozenset({"lost_after_acceptance", "lost_before_acceptance"})
"""These strike each generation once while they are set, as `dies_uncharged` does at its poll."""


@dataclass
class ScriptedProvider:
    """The `ImageProvider` under the test's thumb; thread safe as the protocol demands."""

    site_url: str = ""
    fault: Fault = "none"
    is_history_down: bool = False
    """Whether it cannot be looked up what became of a request, whatever else goes wrong."""
    submit_seconds: float = 0.0
    """How long the service takes to accept a request."""
    reference_limit: int = 0
    """Pictures that every model can be given to go by."""
    before_accepting: Callable[[ImageRequest], None] = lambda _request: None
    """Called with every request that arrives: may wait, or refuse it with a `ProviderError`."""
    most_at_once: int = 0
    """The largest number of requests that had arrived and whose result was not read yet."""
    charges: Counter[str] = field(default_factory=Counter)
    """The meter: what each generation was charged for and not given back, in pictures."""
    accepted: dict[str, ImageRequest] = field(default_factory=dict)
    """Accepted requests by request id."""
    _at_work: set[str] = field(default_factory=set)
    _struck: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    name = "fal"
    capabilities = Capabilities(
        has_request_ids=True, has_history=True, returns_urls=True, is_free=False,
        first_poll_seconds=0.0,
    )  # fmt: skip

    def settings(self, home: Path, **overrides: Any) -> Settings:
        """Settings of an installation that may fetch this provider's pictures."""
        site = self.site_url.removeprefix("http://")
        given: dict[str, Any] = {
            "home": home,
            "fal_key": "the-meter-is-in-this-process",
            "asset_host_allowlist": site,
            "trusted_private_hosts": site,
        }
        return load_settings(**(given | overrides))

    def set_fault(self, fault: Fault) -> None:
        """From now on this goes wrong."""
        with self._lock:
            self.fault = fault
            self._struck.clear()

    def _strike(self, generation_id: str) -> Fault:
        """The fault, for each generation the first time only."""
        with self._lock:
            if generation_id in self._struck:
                return "none"
            self._struck.add(generation_id)
            return self.fault

    def reference_limits(self, endpoint: str) -> ReferenceLimits:
        assert endpoint
        return ReferenceLimits(max_count=self.reference_limit, argument="image_urls")

    def submit(self, request: ImageRequest) -> Submission:
        with self._lock:
            self._at_work.add(request.generation_id)
            self.most_at_once = max(self.most_at_once, len(self._at_work))
        time.sleep(self.submit_seconds)
        self.before_accepting(request)
        fault = self.fault
        if fault in _LOST_ONCE:
            fault = self._strike(request.generation_id)
        if fault == "too_busy":
            raise ProviderError("Too many requests.", retryable=True, charge="not_charged")
        if fault == "refused":
            raise ProviderError("Against the policy.", code="refused", charge="not_charged")
        if fault == "lost_before_acceptance":
            raise AmbiguousSubmitError("The connection broke.")
        with self._lock:
            request_id = f"request-{len(self.accepted)}"
            self.accepted[request_id] = request
            self.charges[request.generation_id] += 1
        if fault in ("lost_after_acceptance", "lost_and_history_down"):
            raise AmbiguousSubmitError("The connection broke.")
        return Submission(request_id)

    def _assert_known(self, request: ImageRequest, submission: Submission) -> None:
        """Questions are about exactly what was sent, but for the reference pictures."""
        assert replace(self.accepted[submission.request_id], references=()) == request

    def poll(self, request: ImageRequest, submission: Submission) -> Progress:
        self._assert_known(request, submission)
        match self.fault:
            case "dies_uncharged" if self._strike(request.generation_id) != "none":
                with self._lock:
                    self.charges[request.generation_id] -= 1
                raise ProviderError("The runner died.", retryable=True, charge="not_charged")
            case "dies_charged":
                raise ProviderError("It failed.", code="died", retryable=True, charge="charged")
            case "dies_for_good":
                raise ProviderError("It failed.", code="died", retryable=False, charge="charged")
            case "does_not_answer":
                raise ProviderError("No answer.", retryable=True, charge="unknown")
        return Progress("completed")

    def fetch_result(self, request: ImageRequest, submission: Submission) -> GenerationResult:
        self._assert_known(request, submission)
        with self._lock:
            self._at_work.discard(request.generation_id)
        named = f"{self.site_url}/{submission.request_id}"
        pictures = tuple(
            ProviderImage(url=f"{named}{'' if number == 0 else f'_{number}'}.png")
            for number in range(request.image_count)
        )
        units = float(request.image_count)
        return GenerationResult(images=pictures, seed=request.seed, billable_units=units)

    def read_image(self, request: ImageRequest, image_index: int) -> bytes:
        raise AssertionError((request, image_index))

    def cancel(self, submission: Submission) -> None:
        raise AssertionError(submission)

    def find_lost(
        self,
        request: ImageRequest,
        submitted_after: datetime,
        known_ids: Collection[str] = frozenset(),
    ) -> LostRequest:
        if self.is_history_down or self.fault == "lost_and_history_down":
            return LostRequest("unknown")
        with self._lock:
            # the newest, since an older one of the same seed may have died before the submit
            for request_id, other in reversed(self.accepted.items()):
                if request_id in known_ids:
                    continue
                if other.seed == request.seed and self.charges[request.generation_id] > 0:
                    return LostRequest("found", Submission(request_id))
        del submitted_after
        return LostRequest("absent")

    def close(self) -> None:
        """Nothing is held open."""

    def picture(self, name: str) -> bytes | int:
        """The bytes of one of a request's pictures, or the status that answers for it."""
        if self.fault == "picture_expired":
            return 404
        if self.fault == "picture_unavailable":
            return 503
        request_id, _, number = name.partition("_")
        request = self.accepted[request_id]
        if self.fault == "blank" and request.image_count == 1:
            # Of several, a run that is cut off may have kept some before they were blank.
            return encode(Image.new("RGB", (32, 32)), "PNG")
        return _pictures[(request.seed + int(number or 0)) % len(_pictures)]


_pictures = tuple(scene_file("PNG", seed) for seed in range(1, 9))


@contextmanager
def scripted_provider() -> Iterator[ScriptedProvider]:
    """The provider with its picture site, as long as the block lasts."""
    provider = ScriptedProvider()

    class Site(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = provider.picture(self.path.removeprefix("/").removesuffix(".png"))
            body = answer if isinstance(answer, bytes) else b""
            self.send_response(200 if isinstance(answer, bytes) else answer)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its parent's name)
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        provider.site_url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join(10)
