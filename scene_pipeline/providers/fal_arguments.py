"""What is sent to a Fal model: the request in the words of the model's family.

Belongs here: building arguments. Does not belong here: which family takes what (`fal_models`), and
sending.
"""

from typing import Any

from scene_pipeline.providers.aspect_ratios import nearest_aspect_ratio
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.providers.fal_models import model_family
from scene_pipeline.providers.request_checks import refuse_reserved, refuse_unsupported

_REFERENCE_ARGUMENTS = frozenset({"image_url", "image_urls"})
RESERVED_ARGUMENTS = frozenset(
    {"prompt", "seed", "num_images", "sync_mode", "image_size", *_REFERENCE_ARGUMENTS}
)
"""Arguments a document cannot pass through: the ledger knows a request by prompt and seed, the
price was told for so many pictures of this size, references are recorded with the request, and
`sync_mode` would put the picture itself into the result, which Fal then keeps for 6 minutes instead
of an hour."""


def build_arguments(request: ImageRequest) -> dict[str, Any]:
    """Build the JSON that is posted: always our number of pictures and seed, never `sync_mode`.

    `enable_safety_checker` is left at the model's default unless the document says otherwise.

    Raises:
        ProviderError: code "argument_reserved" where a pass-through argument would override what
            the ledger or the price stands on, "candidates_unsupported" or "references_unsupported"
            where the model makes fewer pictures, or takes fewer, than were asked for,
            "reference_required" where it needs one. Nothing was sent.
    """
    refuse_reserved(request, RESERVED_ARGUMENTS)
    family = model_family(request.endpoint)
    refuse_unsupported(request, family.max_images, family.reference_limits)
    arguments: dict[str, Any] = {
        "prompt": request.prompt,
        "seed": request.seed,
        "output_format": request.output_format,
    }
    if family.size == "image_size":
        arguments["image_size"] = {"width": request.width, "height": request.height}
    elif family.size == "aspect_ratio":
        arguments["aspect_ratio"] = nearest_aspect_ratio(
            request.width, request.height, family.aspect_ratios
        )
    if family.takes_num_images:
        arguments["num_images"] = request.image_count
    if family.takes_steps and request.steps is not None:
        arguments["num_inference_steps"] = request.steps
    if family.takes_guidance and request.guidance is not None:
        arguments["guidance_scale"] = request.guidance
    if family.takes_negative_prompt and request.negative_prompt:
        arguments["negative_prompt"] = request.negative_prompt
    if request.references and family.references == "image_url":
        arguments["image_url"] = request.references[0].url
    elif request.references:
        arguments["image_urls"] = [reference.url for reference in request.references]
    return {**arguments, **request.arguments}
