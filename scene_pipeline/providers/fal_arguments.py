"""What is sent to a Fal model: the request in the words of the model's family.

Belongs here: building arguments. Does not belong here: which family takes what (`fal_models`), and
sending.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.providers.fal_models import ModelFamily, model_family

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
    _refuse_reserved(request.arguments)
    family = model_family(request.endpoint)
    _refuse_unsupported(request, family)
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


def nearest_aspect_ratio(width: int, height: int, names: Sequence[str]) -> str:
    """The named ratio closest to a size, for models that take no size in pixels."""
    wanted = width / height

    def distance(name: str) -> float:
        across, down = name.split(":")
        ratio = int(across) / int(down)
        return max(ratio / wanted, wanted / ratio)

    return min(names, key=distance)


def _refuse_unsupported(request: ImageRequest, family: ModelFamily) -> None:
    if request.image_count > family.max_images:
        can = f"{family.max_images} pictures" if family.max_images > 1 else "one picture"
        raise ProviderError(
            f"{request.endpoint} makes {can} of one request, not {request.image_count}.",
            code="candidates_unsupported",
            next_action="Ask for fewer candidates, or name a model that makes as many at once.",
            charge="not_charged",
        )
    if family.needs_reference and not request.references:
        raise ProviderError(
            f"{request.endpoint} makes nothing without a reference picture.",
            code="reference_required",
            next_action="Name a picture in the scene's `references`, or a text-to-image model.",
            charge="not_charged",
        )
    if len(request.references) > family.max_references:
        can = str(family.max_references) if family.max_references else "no"
        raise ProviderError(
            f"{request.endpoint} takes {can} reference pictures, not {len(request.references)}.",
            code="references_unsupported",
            next_action="Give fewer reference pictures, or name a model that takes as many.",
            charge="not_charged",
        )


def _refuse_reserved(arguments: Mapping[str, Any]) -> None:
    reserved = sorted(RESERVED_ARGUMENTS.intersection(arguments))
    if not reserved:
        return
    message = f"The model's argument {reserved[0]!r} cannot be set by hand."
    raise ProviderError(
        message,
        code="argument_reserved",
        next_action="Remove it; prompt, seed, size and references have fields of their own.",
        charge="not_charged",
    )
