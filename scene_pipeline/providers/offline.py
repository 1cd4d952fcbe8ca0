"""The provider that needs neither key nor network: it draws a landscape from the prompt.

Belongs here: the provider's protocol over `landscape`. Does not belong here: drawing.

A request is a function of its fields, so nothing has to be remembered: its id derives from the
generation's, it is complete at once, and its picture can be drawn again after any crash.
"""

import io
from collections.abc import Collection
from datetime import datetime

from scene_pipeline.errors import ProviderError
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
from scene_pipeline.settings import Settings

MIN_SIDE = 16
MAX_SIDE = 4096
MAX_IMAGES = 8
MAX_REFERENCES = 3
_JPEG_QUALITY = 90


class OfflineProvider:
    """The `ImageProvider` that draws. It takes any endpoint name, and charges nothing."""

    name = "offline"
    capabilities = Capabilities(
        has_request_ids=True,
        has_history=True,
        returns_urls=False,
        is_free=True,
        first_poll_seconds=0.0,
        fetches_references=False,
    )

    def reference_limits(self, endpoint: str) -> ReferenceLimits:
        """Every model of its takes up to three."""
        return reference_limits(endpoint)

    def submit(self, request: ImageRequest) -> Submission:
        """Accept a request; its id is `local:<generation id>`.

        Raises:
            ProviderError: code "size_unsupported" or "candidates_unsupported".
        """
        if request.image_count > MAX_IMAGES:
            message = f"The offline provider draws {MAX_IMAGES} pictures at most of one request."
            raise ProviderError(
                message,
                code="candidates_unsupported",
                next_action=f"Ask for {MAX_IMAGES} candidates or fewer.",
                charge="not_charged",
            )
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (request.width, request.height)):
            message = f"The offline provider does not draw {request.width} x {request.height}."
            raise ProviderError(
                message,
                code="size_unsupported",
                next_action=f"Ask for sides of {MIN_SIDE} to {MAX_SIDE} pixels.",
                charge="not_charged",
            )
        return Submission(request_id=f"local:{request.generation_id}")

    def poll(self, request: ImageRequest, submission: Submission) -> Progress:  # noqa: ARG002  # base
        """Every request is complete at once."""
        return Progress("completed")

    def fetch_result(
        self,
        request: ImageRequest,
        submission: Submission,  # noqa: ARG002  # base
    ) -> GenerationResult:
        """Describe the pictures that `read_image` draws."""
        image = ProviderImage(
            url=None,
            width=request.width,
            height=request.height,
            content_type=f"image/{request.output_format}",
        )
        return GenerationResult(images=(image,) * request.image_count, seed=request.seed)

    def read_image(self, request: ImageRequest, image_index: int) -> bytes:
        """Draw a picture; the same bytes on every call. Candidate n is drawn with the seed plus n.

        A reference picture lends the picture its mean colour.

        Raises:
            ProviderError: code "image_missing" for a number that was not asked for.
        """
        if not 0 <= image_index < request.image_count:
            message = (
                f"The request was for {request.image_count} pictures; there is no number"
                f" {image_index}."
            )
            raise ProviderError(message, code="image_missing", charge="not_charged")
        from scene_pipeline.providers.landscape.painter import paint  # noqa: PLC0415  # Pillow
        from scene_pipeline.providers.landscape.tint import tinted  # noqa: PLC0415  # Pillow

        picture = paint(request.prompt, request.seed + image_index, (request.width, request.height))
        for reference in request.references[:MAX_REFERENCES]:
            picture = tinted(picture, reference)
        encoded = io.BytesIO()
        if request.output_format == "jpeg":
            picture.save(encoded, "JPEG", quality=_JPEG_QUALITY)
        else:
            picture.save(encoded, "PNG", compress_level=3)
        return encoded.getvalue()

    def cancel(self, submission: Submission) -> None:
        """Nothing is ever queued."""

    def find_lost(
        self,
        request: ImageRequest,
        submitted_after: datetime,  # noqa: ARG002  # base
        known_ids: Collection[str] = frozenset(),  # noqa: ARG002  # base
    ) -> LostRequest:
        """No request is ever lost: its id derives from the generation's."""
        return LostRequest("found", Submission(request_id=f"local:{request.generation_id}"))

    def close(self) -> None:
        """There is nothing to release."""


def build(_settings: Settings) -> OfflineProvider:
    """Build the provider; it needs nothing."""
    return OfflineProvider()


def max_images(_endpoint: str) -> int:
    """How many pictures it draws of one request."""
    return MAX_IMAGES


def reference_limits(_endpoint: str) -> ReferenceLimits:
    """Which pictures it can be given to go by."""
    return ReferenceLimits(max_count=MAX_REFERENCES, argument="references")
