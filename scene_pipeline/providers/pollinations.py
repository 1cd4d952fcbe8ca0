"""Pollinations: one GET that answers with the picture itself, with a key or without.

Mode of operation: `submit` is the GET, so that asking happens where payments are permitted, once;
the bytes stay in memory until the pipeline reads them. There is no request id, no history and no
second way to a picture, so that not every promise can be kept (docs/providers.md):

- With a key (gen.pollinations.ai) a picture costs pollen. An answer that was lost stays in doubt
  until a person decides; a picture that is lost after its acceptance, with the process that had it,
  ends its generation as "result_lost", charged, and is never asked for again unasked.
- Without one (image.pollinations.ai) it is free: what is lost is asked for again, with the seed and
  words that it had.

Facts, as documented in the project's APIDOCS.md: `GET https://gen.pollinations.ai/image/{prompt}`
with a bearer key, `GET https://image.pollinations.ai/prompt/{prompt}` without; parameters `model`,
`width`, `height`, `seed`, `nologo`, `private` (out of the public feed), `enhance`, `safe`, and for
models that go by a picture `image`, its address. One picture a request.

Belongs here: the GET and keeping its bytes. Does not belong here: loops, retries, storing.
"""

import ssl
from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus

from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import (
    NO_REFERENCES,
    Capabilities,
    GenerationResult,
    ImageRequest,
    LostRequest,
    Progress,
    ProviderImage,
    ReferenceLimits,
    Submission,
)
from scene_pipeline.providers.bearer import BearerClient, LostAnswerError
from scene_pipeline.providers.kept_pictures import KeptPictures
from scene_pipeline.providers.keys import checked_token
from scene_pipeline.providers.pollinations_addresses import (
    FREE_HOST,
    KEYED_HOST,
    MAX_IMAGES,
    address,
)
from scene_pipeline.providers.pollinations_errors import (
    lost_answer,
    picture_lost,
    refusal,
)
from scene_pipeline.settings import Settings

MAX_KEPT_BYTES = 256 * 2**20
"""Of pictures that wait to be read; more than the scenes under way at once commonly need."""
MAKING_SECONDS = 120.0
"""What an answer may take beyond the ordinary: the model runs before it begins."""

_MODELS_WITH_REFERENCE = frozenset(
    {"kontext", "nanobanana", "nanobanana-pro", "seedream", "gptimage"}
)


class PollinationsProvider:
    """The `ImageProvider` for Pollinations.

    Args:
        key: POLLINATIONS_API_KEY, sent to gen.pollinations.ai only; None for the free host.
        tls_context: Trust roots of every connection (`egress.tls_context`).
        egress_proxy: URL of the only proxy, or None.
        max_bytes: Longest picture.
        answer_timeout_seconds: From the asking to the end of the picture.

    Raises:
        ConfigurationError: The key cannot be put into a header.
    """

    name = "pollinations"

    def __init__(
        self,
        key: str | None,
        tls_context: ssl.SSLContext,
        egress_proxy: str | None = None,
        *,
        max_bytes: int = 25 * 2**20,
        answer_timeout_seconds: float = 180.0,
    ) -> None:
        if key is not None:
            key = checked_token(
                key, variable="POLLINATIONS_API_KEY", code="pollinations_key_invalid"
            )
        self._has_key = key is not None
        self._secrets = () if key is None else (key,)
        self._max_bytes = max_bytes
        self._client = BearerClient(
            "Pollinations", key, {KEYED_HOST if self._has_key else FREE_HOST}, tls_context,
            egress_proxy, timeout_seconds=answer_timeout_seconds, keeps_alive=False,
        )  # fmt: skip
        self._kept = KeptPictures(MAX_KEPT_BYTES)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; it is free without a key."""
        return Capabilities(
            has_request_ids=False,
            has_history=False,
            returns_urls=False,
            is_free=not self._has_key,
            first_poll_seconds=0.0,
        )

    def reference_limits(self, endpoint: str) -> ReferenceLimits:
        """Models that are known to go by a picture take one, by an https address."""
        return reference_limits(endpoint)

    def submit(self, request: ImageRequest) -> Submission:
        """Ask for the picture with exactly one GET, and keep it until it is read.

        Raises:
            AmbiguousSubmitError: With a key: it may have been made.
            ProviderError: There is no picture; `charge` says what that may have cost.
        """
        self._kept.put(request.generation_id, self._ask(request))
        return Submission(request_id=f"local:{request.generation_id}")

    def poll(self, request: ImageRequest, submission: Submission) -> Progress:  # noqa: ARG002  # base
        """The picture is there, or gone with the process that asked for it.

        Raises:
            ProviderError: code "result_lost": it was paid for, and cannot be had again.
        """
        if self._has_key and self._kept.get(request.generation_id) is None:
            raise picture_lost(request.endpoint)
        return Progress("completed")

    def fetch_result(
        self,
        request: ImageRequest,
        submission: Submission,  # noqa: ARG002  # base
    ) -> GenerationResult:
        """Describe the picture that `read_image` gives; of what was paid nothing is told."""
        image = ProviderImage(url=None, width=request.width, height=request.height)
        return GenerationResult(images=(image,), seed=request.seed)

    def read_image(self, request: ImageRequest, image_index: int) -> bytes:
        """Give the picture, which without a key is asked for again where it is no longer there.

        Raises:
            ProviderError: code "image_missing" for any but the first; "result_lost"; or, without a
                key, whatever `submit` raises.
        """
        if image_index != 0:
            message = "Pollinations makes one picture of a request."
            raise ProviderError(message, code="image_missing", charge="not_charged")
        data = self._kept.get(request.generation_id)
        if data is not None:
            return data
        if self._has_key:
            raise picture_lost(request.endpoint)
        data = self._ask(request)
        self._kept.put(request.generation_id, data)
        return data

    def cancel(self, submission: Submission) -> None:
        """Nothing is ever queued."""

    def find_lost(
        self,
        request: ImageRequest,  # noqa: ARG002  # base
        submitted_after: datetime,  # noqa: ARG002  # base
        known_ids: Collection[str] = frozenset(),  # noqa: ARG002  # base
    ) -> LostRequest:
        """There is no history: nothing is ever found, and nothing proven absent."""
        return LostRequest("unknown")

    def close(self) -> None:
        """Release the connections, and the pictures that nobody read."""
        self._client.close()
        self._kept.clear()

    def _ask(self, request: ImageRequest) -> bytes:
        url = address(request, self.reference_limits(request.endpoint), has_key=self._has_key)
        try:
            answer = self._client.exchange(
                "GET", url, max_bytes=self._max_bytes, headers={"Accept": "image/*"}
            )
        except LostAnswerError as error:
            what = f"no whole answer came ({error})"
            raise lost_answer(request.endpoint, what, has_key=self._has_key) from error
        if answer.status != HTTPStatus.OK:
            raise refusal(request.endpoint, answer, self._secrets, has_key=self._has_key)
        if not answer.headers.get("content-type", "").lower().startswith("image/"):
            what = "what it gave is no picture"
            raise lost_answer(request.endpoint, what, has_key=self._has_key)
        return answer.body


def build(settings: Settings) -> PollinationsProvider:
    """Build the provider from the settings; the key is optional.

    Raises:
        ConfigurationError: POLLINATIONS_API_KEY is set and cannot be a key.
    """
    return PollinationsProvider(
        settings.pollinations_api_key,
        tls_context(settings.ssl_cert_file),
        settings.egress_proxy,
        max_bytes=settings.asset_max_image_mb * 2**20,
        answer_timeout_seconds=settings.submit_timeout_seconds + MAKING_SECONDS,
    )


def max_images(_endpoint: str) -> int:
    """How many pictures a model makes of one request."""
    return MAX_IMAGES


def reference_limits(endpoint: str) -> ReferenceLimits:
    """Which pictures a model can be given to go by."""
    if endpoint in _MODELS_WITH_REFERENCE:
        return ReferenceLimits(max_count=1, argument="image")
    return NO_REFERENCES
