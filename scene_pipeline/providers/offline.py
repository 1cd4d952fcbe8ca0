"""The provider that needs neither key nor network: it draws a landscape from the prompt.

Belongs here: the provider's protocol over `landscape`. Does not belong here: drawing.

A request is a function of its fields, so nothing has to be remembered: its id derives from the
generation's, it is complete at once, and its picture can be drawn again after any crash.
"""

import io
from datetime import datetime

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import (
    Capabilities,
    GenerationResult,
    ImageRequest,
    LostRequest,
    Progress,
    ProviderImage,
    Submission,
)

MIN_SIDE = 16
MAX_SIDE = 4096
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
    )

    def submit(self, request: ImageRequest) -> Submission:
        """Accept a request; its id is `local:<generation id>`.

        Raises:
            ProviderError: code "size_unsupported".
        """
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
        """Describe the picture that `read_image` draws."""
        image = ProviderImage(
            url=None,
            width=request.width,
            height=request.height,
            content_type=f"image/{request.output_format}",
        )
        return GenerationResult(images=(image,), seed=request.seed)

    def read_image(self, request: ImageRequest, image_index: int) -> bytes:
        """Draw the picture; the same bytes on every call.

        Raises:
            ProviderError: code "image_missing" for any index but 0.
        """
        if image_index != 0:
            message = f"The offline provider draws one picture; there is no number {image_index}."
            raise ProviderError(message, code="image_missing", charge="not_charged")
        from scene_pipeline.providers.landscape.painter import paint  # noqa: PLC0415  # Pillow

        picture = paint(request.prompt, request.seed, (request.width, request.height))
        encoded = io.BytesIO()
        if request.output_format == "jpeg":
            picture.save(encoded, "JPEG", quality=_JPEG_QUALITY)
        else:
            picture.save(encoded, "PNG", compress_level=3)
        return encoded.getvalue()

    def cancel(self, submission: Submission) -> None:
        """Nothing is ever queued."""

    def find_lost(self, request: ImageRequest, submitted_after: datetime) -> LostRequest:  # noqa: ARG002  # base
        """No request is ever lost: its id derives from the generation's."""
        return LostRequest("found", Submission(request_id=f"local:{request.generation_id}"))

    def close(self) -> None:
        """There is nothing to release."""
