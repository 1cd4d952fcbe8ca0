"""What is sent to a Fal model, by the model's family.

Belongs here: the table of families and the building of arguments. Does not belong here: sending.
Families are data: a new one is one line. Sources: the input schemas on the models' pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest

RESERVED_ARGUMENTS = frozenset({"prompt", "seed", "num_images", "sync_mode", "image_size"})
"""Arguments a document cannot pass through: the ledger knows a request by prompt and seed, the
price was told for one picture of this size, and `sync_mode` would put the picture itself into the
result, which Fal then keeps for 6 minutes instead of an hour."""

_ASPECT_RATIOS = ("21:9", "16:9", "3:2", "4:3", "1:1", "3:4", "2:3", "9:16", "9:21")


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """Which parameters the models under one prefix take; others are left out."""

    prefix: str
    """Leading path segments of the endpoint, "fal-ai/flux-pro/v1.1"."""
    size: Literal["image_size", "aspect_ratio"] = "image_size"
    takes_steps: bool = True
    takes_guidance: bool = True
    takes_num_images: bool = True
    takes_negative_prompt: bool = False


_FAMILIES = (
    ModelFamily("fal-ai/flux"),
    ModelFamily("fal-ai/flux-1"),
    ModelFamily("fal-ai/flux-lora"),
    ModelFamily("fal-ai/flux-2"),
    ModelFamily(
        "fal-ai/flux-2-pro", takes_steps=False, takes_guidance=False, takes_num_images=False
    ),
    ModelFamily("fal-ai/flux-pro"),
    ModelFamily("fal-ai/flux-pro/v1.1", takes_steps=False, takes_guidance=False),
    ModelFamily(
        "fal-ai/flux-pro/v1.1-ultra", size="aspect_ratio", takes_steps=False, takes_guidance=False
    ),
    ModelFamily("fal-ai/flux-pro/kontext", size="aspect_ratio", takes_steps=False),
    ModelFamily("fal-ai/fast-sdxl", takes_negative_prompt=True),
    ModelFamily("fal-ai/stable-diffusion-v35-large", takes_negative_prompt=True),
    ModelFamily("fal-ai/stable-diffusion-v35-medium", takes_negative_prompt=True),
    ModelFamily("fal-ai/qwen-image", takes_negative_prompt=True),
)
_UNLISTED = ModelFamily("")


def model_family(endpoint: str) -> ModelFamily:
    """The family with the longest prefix that fits; a cautious default for models not listed."""
    fitting = [
        family
        for family in _FAMILIES
        if endpoint == family.prefix or endpoint.startswith(f"{family.prefix}/")
    ]
    return max(fitting, key=lambda family: len(family.prefix), default=_UNLISTED)


def build_arguments(request: ImageRequest) -> dict[str, Any]:
    """Build the JSON that is posted: always one picture, always our seed, never `sync_mode`.

    `enable_safety_checker` is left at the model's default unless the document says otherwise.

    Raises:
        ProviderError: code "argument_reserved" where a pass-through argument would override what
            the ledger or the price stands on. Nothing was sent.
    """
    _refuse_reserved(request.arguments)
    family = model_family(request.endpoint)
    arguments: dict[str, Any] = {
        "prompt": request.prompt,
        "seed": request.seed,
        "output_format": request.output_format,
    }
    if family.size == "image_size":
        arguments["image_size"] = {"width": request.width, "height": request.height}
    else:
        arguments["aspect_ratio"] = nearest_aspect_ratio(request.width, request.height)
    if family.takes_num_images:
        arguments["num_images"] = 1
    if family.takes_steps and request.steps is not None:
        arguments["num_inference_steps"] = request.steps
    if family.takes_guidance and request.guidance is not None:
        arguments["guidance_scale"] = request.guidance
    if family.takes_negative_prompt and request.negative_prompt:
        arguments["negative_prompt"] = request.negative_prompt
    return {**arguments, **request.arguments}


def nearest_aspect_ratio(width: int, height: int) -> str:
    """The named ratio closest to a size, for models that take no size in pixels."""
    wanted = width / height

    def distance(name: str) -> float:
        across, down = name.split(":")
        ratio = int(across) / int(down)
        return max(ratio / wanted, wanted / ratio)

    return min(_ASPECT_RATIOS, key=distance)


def _refuse_reserved(arguments: Mapping[str, Any]) -> None:
    reserved = sorted(RESERVED_ARGUMENTS.intersection(arguments))
    if not reserved:
        return
    message = f"The model's argument {reserved[0]!r} cannot be set by hand."
    raise ProviderError(
        message,
        code="argument_reserved",
        next_action="Remove it; prompt, seed and image size have fields of their own.",
        charge="not_charged",
    )
