"""The face every image provider shows to the pipeline.

Adapters are synchronous, thread safe and do exactly one thing per call: they do not loop, store or
retry. The pipeline calls them from its own bounded threads, persists what they return, and decides
what happens after an error by the error's attributes (`scene_pipeline.errors.ProviderError`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ReferencePicture:
    """A picture that is sent along for the model to go by."""

    sha256: str
    """Of the bytes, lower-case hex: what makes two requests the same, wherever the picture lies."""
    content_type: str
    """"image/jpeg", "image/png" or "image/webp"."""
    url: str = field(repr=False)
    """An https address that the provider can reach, or a `data:` URI that holds the bytes. Either
    may be signed or large, so it goes into no message and no row."""
    source: str
    """Where it comes from, for people: "scene_2 version 3"."""


@dataclass(frozen=True, slots=True)
class ReferenceLimits:
    """Which pictures a model can be given to go by, as data."""

    max_count: int = 0
    """0 where it takes none."""
    argument: str | None = None
    """The model's own name for them, for people; None where it takes none."""
    is_required: bool = False
    """Whether it makes nothing without one (an image-to-image model)."""
    content_types: frozenset[str] = frozenset({"image/png", "image/jpeg", "image/webp"})
    min_side: int = 1
    """Pixels of the shorter side."""
    max_side: int | None = None
    """Pixels of the longer side; None where nothing is known."""
    max_bytes: int | None = None
    """Size of one file; None where nothing is known."""


NO_REFERENCES: Final = ReferenceLimits()


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What to make, complete: nothing else decides what is sent."""

    generation_id: str
    """Id of the ledger's row; providers without request ids derive theirs from it."""
    endpoint: str
    """The provider's name of the model, "fal-ai/flux/schnell"."""
    prompt: str
    seed: int
    """Chosen by us and persisted before anything is sent, 0 to 2**31 - 1."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    negative_prompt: str | None = None
    steps: int | None = None
    guidance: float | None = None
    output_format: Literal["png", "jpeg"] = "jpeg"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the model, passed through as they are."""
    image_count: int = 1
    """Pictures to make of it at once, from 1; one that the model does not make is refused before
    anything is sent (code "candidates_unsupported")."""
    references: tuple[ReferencePicture, ...] = ()
    """In the order in which the model is given them, within its `reference_limits`."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request the provider has accepted; all of it is persisted before the first poll."""

    request_id: str
    status_url: str | None = None
    response_url: str | None = None
    cancel_url: str | None = None
    queue_position: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What the provider said about a request, and nothing it did not say."""

    state: Literal["queued", "running", "completed"]
    queue_position: int | None = None
    log_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderImage:
    """One picture of a result."""

    url: str | None
    """Where it can be fetched; None where the adapter's `read_image` gives the bytes."""
    width: int | None = None
    height: int | None = None
    content_type: str | None = None
    is_flagged: bool = False
    """Whether the provider's own safety check objects to it."""


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """A completed request, as far as the pipeline needs it."""

    images: tuple[ProviderImage, ...]
    seed: int | None = None
    billable_units: float | None = None
    """Units the provider metered, in the denomination of the model's price; None if not told."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The provider's own answer, small enough to keep (no picture bytes)."""


@dataclass(frozen=True, slots=True)
class LostRequest:
    """What the provider's history knows about a request whose answer never came.

    "absent" means that the history was readable and does not hold it *yet*; only time makes that
    a proof. "unknown" means that the history could not be read.
    """

    verdict: Literal["found", "absent", "unknown"]
    submission: Submission | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do, as data."""

    has_request_ids: bool
    """Whether a request can be taken up again after a crash."""
    has_history: bool
    """Whether `find_lost` can ever answer "found" or "absent"."""
    returns_urls: bool
    """Whether results are fetched from a URL (True) or from `read_image` (False)."""
    is_free: bool
    """Whether generations cost nothing."""
    first_poll_seconds: float
    """How long after the submit the first poll is worth making."""
    url_lifetime_seconds: float | None = None
    """How long after its completion the URL of a result is certain to work; None if not known."""
    fetches_references: bool = True
    """Whether it can fetch a reference picture from its address; one that cannot gets the bytes."""


@runtime_checkable
class UploadsReferences(Protocol):
    """A provider with a place of its own for reference pictures (FAL_USE_UPLOAD)."""

    def upload_reference(self, data: bytes, content_type: str) -> str:
        """Bring a picture to the provider's own storage, right before the request that uses it.

        Args:
            data: The whole file.
            content_type: "image/jpeg", "image/png" or "image/webp".

        Returns:
            An https address that the provider's models can fetch.

        Raises:
            ProviderError: It was refused or did not arrive (`charge == "not_charged"`).
        """
        ...


class ImageProvider(Protocol):
    """One image service.

    Every method raises `ProviderError` (or `AmbiguousSubmitError` from `submit`) and nothing else
    on purpose; messages never contain a key, a header or a signed URL.
    """

    @property
    def name(self) -> str:
        """The name users choose it by: "fal", "offline"."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def reference_limits(self, endpoint: str) -> ReferenceLimits:
        """Which pictures a model can be given to go by, without asking anybody."""
        ...

    def submit(self, request: ImageRequest) -> Submission:
        """Ask for the pictures, with exactly one request on the wire.

        Raises:
            AmbiguousSubmitError: It may have been accepted.
            ProviderError: It was certainly refused or never sent (`charge == "not_charged"`).
        """
        ...

    def poll(self, request: ImageRequest, submission: Submission) -> Progress:
        """Ask once how it stands.

        Raises:
            ProviderError: The request failed for good, or this one question did (`retryable`).
        """
        ...

    def fetch_result(self, request: ImageRequest, submission: Submission) -> GenerationResult:
        """Read the result of a completed request."""
        ...

    def read_image(self, request: ImageRequest, image_index: int) -> bytes:
        """Give the bytes of a picture that has no URL; deterministic, so callable again."""
        ...

    def cancel(self, submission: Submission) -> None:
        """Ask the provider to drop a request that is still queued; best effort."""
        ...

    def find_lost(
        self,
        request: ImageRequest,
        submitted_after: datetime,
        known_ids: Collection[str] = frozenset(),
    ) -> LostRequest:
        """Look a request up in the provider's history by endpoint, prompt and seed.

        Args:
            request: As it was sent.
            submitted_after: When, at the earliest.
            known_ids: Request ids of other generations: with a seed that was given or kept, two of
                them may have sent the same.
        """
        ...

    def close(self) -> None:
        """Release connections; the adapter is not used afterwards."""
        ...
