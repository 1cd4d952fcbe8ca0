"""What is sent to a model at Replicate, by the model's family.

Belongs here: names of models, the table of families, the building of inputs. Does not belong here:
sending. Families are data: a new one is one line. Sources: the input schemas on the models' API
pages at replicate.com.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.aspect_ratios import nearest_aspect_ratio
from scene_pipeline.providers.base import NO_REFERENCES, ImageRequest, ReferenceLimits
from scene_pipeline.providers.request_checks import refuse_reserved, refuse_unsupported

_TALL_RATIOS = ("2:3", "4:5", "3:4", "9:16", "9:21")
_FLUX_RATIOS = ("1:1", "3:2", "5:4", "4:3", "16:9", "21:9", *_TALL_RATIOS)
_ALWAYS_RESERVED = frozenset({"prompt", "seed", "num_outputs"})
_REFERENCE_INPUTS = frozenset({"image", "image_prompt", "input_image", "input_images"})
_SIZE_INPUTS = frozenset({"aspect_ratio", "width", "height", "megapixels"})
_FORMATS = {"jpeg": "jpg", "png": "png"}

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_ENDPOINT = re.compile(rf"({_NAME})/({_NAME})(?::([0-9a-f]{{64}}))?")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model as Replicate names it."""

    owner: str
    name: str
    version: str | None
    """64 hex digits; None for official models, which are run without one."""

    @property
    def path(self) -> str:
        """Owner and name, "black-forest-labs/flux-schnell"."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """Which inputs a model takes; others are left out."""

    model: str
    """Owner and name, without a version."""
    size: Literal["aspect_ratio", "custom", "pixels", "none"] = "aspect_ratio"
    """custom: width and height count where the aspect ratio is called so. none: nothing is known
    of the size, so that it is left to the model and the document's own arguments."""
    aspect_ratios: tuple[str, ...] = _FLUX_RATIOS
    side_step: int = 1
    """Sides are multiples of this many pixels."""
    sides: tuple[int, int] = (1, 4096)
    """Shortest and longest side, pixels."""
    max_images: int = 1
    """Pictures of one request; 1 where the model has no `num_outputs`."""
    takes_steps: bool = False
    guidance: str | None = None
    """Its name for the guidance."""
    takes_negative_prompt: bool = False
    takes_output_format: bool = True
    reference: str | None = None
    """Its name for the one picture to go by."""
    needs_reference: bool = False
    billed_by: Literal["image", "second"] = "image"
    """What is metered: official models by the picture, others by the time they ran."""

    @property
    def reference_limits(self) -> ReferenceLimits:
        """Which pictures it can be given to go by."""
        if self.reference is None:
            return NO_REFERENCES
        return ReferenceLimits(
            max_count=1, argument=self.reference, is_required=self.needs_reference
        )

    @property
    def reserved(self) -> frozenset[str]:
        """Inputs that a document cannot pass through."""
        size = frozenset() if self.size == "none" else _SIZE_INPUTS
        return _ALWAYS_RESERVED | _REFERENCE_INPUTS | size


_FAMILIES = (
    ModelFamily("black-forest-labs/flux-schnell", max_images=4, takes_steps=True),
    ModelFamily(
        "black-forest-labs/flux-dev",
        max_images=4,
        takes_steps=True,
        guidance="guidance",
        reference="image",
    ),
    ModelFamily(
        "black-forest-labs/flux-pro",
        size="custom",
        side_step=32,
        sides=(256, 1440),
        takes_steps=True,
        guidance="guidance",
        reference="image_prompt",
    ),
    ModelFamily(
        "black-forest-labs/flux-1.1-pro",
        size="custom",
        side_step=32,
        sides=(256, 1440),
        reference="image_prompt",
    ),
    ModelFamily("black-forest-labs/flux-1.1-pro-ultra", reference="image_prompt"),
    ModelFamily("black-forest-labs/flux-kontext-pro", reference="input_image"),
    ModelFamily("black-forest-labs/flux-kontext-max", reference="input_image"),
    ModelFamily(
        "black-forest-labs/flux-kontext-dev",
        takes_steps=True,
        guidance="guidance",
        reference="input_image",
        needs_reference=True,
    ),
    ModelFamily(
        "stability-ai/sdxl",
        size="pixels",
        side_step=8,
        max_images=4,
        takes_steps=True,
        guidance="guidance_scale",
        takes_negative_prompt=True,
        takes_output_format=False,
        reference="image",
        billed_by="second",
    ),
)
_BY_MODEL = {family.model: family for family in _FAMILIES}
_UNLISTED = ModelFamily("", size="none", takes_output_format=False, billed_by="second")


def parsed_endpoint(endpoint: str) -> ModelName:
    """Read a model's name, "owner/name" or "owner/name:version".

    Raises:
        ProviderError: code "model_invalid".
    """
    match = _ENDPOINT.fullmatch(endpoint)
    if match:
        return ModelName(*match.groups())
    raise ProviderError(
        f"{endpoint[:80]!r} is not the name of a model at Replicate.",
        code="model_invalid",
        next_action='Name a model as "black-forest-labs/flux-schnell", or one that is not official'
        ' with its version: "owner/name:<64 hex digits>".',
        charge="not_charged",
    )


def model_family(endpoint: str) -> ModelFamily:
    """The family of a model, with or without a version; a cautious default if it is not listed."""
    return _BY_MODEL.get(endpoint.partition(":")[0], _UNLISTED)


def build_input(request: ImageRequest) -> dict[str, Any]:
    """Build the `input` that is posted: always our number of pictures and seed.

    Safety checks are left at the model's default unless the document says otherwise.

    Raises:
        ProviderError: What is asked for cannot be had of this model; nothing was sent.
    """
    family = model_family(request.endpoint)
    refuse_reserved(request, family.reserved)
    refuse_unsupported(request, family.max_images, family.reference_limits)
    sent: dict[str, Any] = {
        "prompt": request.prompt,
        "seed": request.seed,
        **_size(request, family),
    }
    if family.takes_output_format:
        sent["output_format"] = _FORMATS[request.output_format]
    if family.max_images > 1:
        sent["num_outputs"] = request.image_count
    if family.takes_steps and request.steps is not None:
        sent["num_inference_steps"] = request.steps
    if family.guidance is not None and request.guidance is not None:
        sent[family.guidance] = request.guidance
    if family.takes_negative_prompt and request.negative_prompt:
        sent["negative_prompt"] = request.negative_prompt
    if family.reference is not None and request.references:
        sent[family.reference] = request.references[0].url
    return {**sent, **request.arguments}


def _size(request: ImageRequest, family: ModelFamily) -> Mapping[str, Any]:
    if family.size == "none":
        return {}
    if family.size == "aspect_ratio":
        ratio = nearest_aspect_ratio(request.width, request.height, family.aspect_ratios)
        return {"aspect_ratio": ratio}
    sides = {
        "width": _side(request.width, family),
        "height": _side(request.height, family),
    }
    return sides if family.size == "pixels" else {"aspect_ratio": "custom", **sides}


def _side(pixels: int, family: ModelFamily) -> int:
    shortest, longest = family.sides
    if not shortest <= pixels <= longest:
        raise ProviderError(
            f"{family.model} makes no picture with a side of {pixels} pixels.",
            code="size_unsupported",
            next_action=f"Ask for sides of {shortest} to {longest} pixels.",
            charge="not_charged",
        )
    return max(1, round(pixels / family.side_step)) * family.side_step
