"""What a ledger row stands for at its provider: the request, and the handle on it."""

from dataclasses import replace

from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.keeping.references import reference_pictures
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest, Submission


def image_request(generation: Generation) -> ImageRequest:
    """The request that a ledger row stands for, without its reference pictures.

    That is enough to ask about one that was sent: a store that is down must not stand between us
    and a result that was paid for.
    """
    parameters = generation.parameters
    return ImageRequest(
        generation_id=str(generation.id),
        endpoint=generation.endpoint,
        prompt=generation.prompt,
        seed=generation.seed,
        width=generation.width,
        height=generation.height,
        negative_prompt=generation.negative_prompt,
        steps=parameters.get("steps"),
        guidance=parameters.get("guidance"),
        output_format=parameters.get("output_format") or "jpeg",
        arguments=parameters.get("arguments") or {},
        image_count=generation.image_count,
    )


async def complete_request(services: Services, generation: Generation) -> ImageRequest:
    """The request that a ledger row stands for, exactly as it was or will be sent.

    Raises:
        StorageError: A reference picture cannot be read.
        ImageError: A reference picture cannot be made small enough.
    """
    request = image_request(generation)
    if not generation.reference_images:
        return request
    return replace(request, references=await reference_pictures(services, generation))


def submission_of(generation: Generation) -> Submission:
    """The provider's handle on a request, as it was persisted.

    Raises:
        LedgerError: The row has no request id, so it was never submitted.
    """
    if generation.request_id is None:
        message = f"Generation {generation.id} was never submitted."
        raise LedgerError(message)
    return Submission(
        request_id=generation.request_id,
        status_url=generation.status_url,
        response_url=generation.response_url,
        cancel_url=generation.cancel_url,
    )
