"""What is sent to a Fal model, by the model's family.

Belongs here: the table of families and the building of arguments. Does not belong here: sending.
Families are data: a new one is one line. Sources: the input schemas on the models' pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import NO_REFERENCES, ImageRequest, ReferenceLimits

_REFERENCE_ARGUMENTS = frozenset({"image_url", "image_urls"})
RESERVED_ARGUMENTS = frozenset(
    {"prompt", "seed", "num_images", "sync_mode", "image_size", *_REFERENCE_ARGUMENTS}
)
"""Arguments a document cannot pass through: the ledger knows a request by prompt and seed, the
price was told for so many pictures of this size, references are recorded with the request, and
`sync_mode` would put the picture itself into the result, which Fal then keeps for 6 minutes instead
of an hour."""

_ASPECT_RATIOS = ("21:9", "16:9", "3:2", "4:3", "1:1", "3:4", "2:3", "9:16", "9:21")


_Tasks = tuple[tuple[str, Literal["none", "image_url", "image_urls"], int], ...]
_KONTEXT_TASKS: _Tasks = (
    ("", "image_url", 1),
    ("/multi", "image_urls", 4),
    ("/text-to-image", "none", 0),
)


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """Which parameters the models under one prefix take; others are left out."""

    prefix: str
    """Leading path segments of the endpoint, "fal-ai/flux-pro/v1.1"."""
    size: Literal["image_size", "aspect_ratio", "none"] = "image_size"
    """none: the picture gets the size of the reference."""
    takes_steps: bool = True
    takes_guidance: bool = True
    max_images: int = 4
    """Pictures of one request; 1 where the model has no `num_images`."""
    takes_negative_prompt: bool = False
    references: Literal["none", "image_url", "image_urls"] = "none"
    """The argument that takes pictures to go by: one address, or a list."""
    max_references: int = 0

    @property
    def reference_limits(self) -> ReferenceLimits:
        """Which pictures it can be given to go by."""
        if self.references == "none":
            return NO_REFERENCES
        return ReferenceLimits(max_count=self.max_references, argument=self.references)

    @property
    def takes_num_images(self) -> bool:
        """Whether the model has the argument `num_images`."""
        return self.max_images > 1


_FAMILIES = (
    ModelFamily("fal-ai/flux"),
    ModelFamily(
        "fal-ai/flux/dev/image-to-image", size="none", references="image_url", max_references=1
    ),
    ModelFamily("fal-ai/flux-1"),
    ModelFamily(
        "fal-ai/flux-1/dev/image-to-image", size="none", references="image_url", max_references=1
    ),
    ModelFamily("fal-ai/flux-lora"),
    ModelFamily("fal-ai/flux-2"),
    ModelFamily("fal-ai/flux-2/edit", references="image_urls", max_references=3),
    ModelFamily("fal-ai/flux-2/lora/edit", references="image_urls", max_references=3),
    ModelFamily("fal-ai/flux-2-pro", takes_steps=False, takes_guidance=False, max_images=1),
    ModelFamily(
        "fal-ai/flux-2-pro/edit",
        takes_steps=False,
        takes_guidance=False,
        max_images=1,
        references="image_urls",
        max_references=3,
    ),
    ModelFamily("fal-ai/flux-pro"),
    ModelFamily("fal-ai/flux-pro/v1.1", takes_steps=False, takes_guidance=False),
    ModelFamily(
        "fal-ai/flux-pro/v1.1-ultra",
        size="aspect_ratio",
        takes_steps=False,
        takes_guidance=False,
        references="image_url",
        max_references=1,
    ),
    *(
        ModelFamily(
            f"fal-ai/flux-pro/kontext{quality}{task}",
            size="aspect_ratio",
            takes_steps=False,
            references=references,
            max_references=max_references,
        )
        for quality in ("", "/max")
        for task, references, max_references in _KONTEXT_TASKS
    ),
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
    """Build the JSON that is posted: always our number of pictures and seed, never `sync_mode`.

    `enable_safety_checker` is left at the model's default unless the document says otherwise.

    Raises:
        ProviderError: code "argument_reserved" where a pass-through argument would override what
            the ledger or the price stands on, "candidates_unsupported" or "references_unsupported"
            where the model makes fewer pictures, or takes fewer, than were asked for. Nothing was
            sent.
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
        arguments["aspect_ratio"] = nearest_aspect_ratio(request.width, request.height)
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


def nearest_aspect_ratio(width: int, height: int) -> str:
    """The named ratio closest to a size, for models that take no size in pixels."""
    wanted = width / height

    def distance(name: str) -> float:
        across, down = name.split(":")
        ratio = int(across) / int(down)
        return max(ratio / wanted, wanted / ratio)

    return min(_ASPECT_RATIOS, key=distance)


def _refuse_unsupported(request: ImageRequest, family: ModelFamily) -> None:
    if request.image_count > family.max_images:
        can = f"{family.max_images} pictures" if family.max_images > 1 else "one picture"
        raise ProviderError(
            f"{request.endpoint} makes {can} of one request, not {request.image_count}.",
            code="candidates_unsupported",
            next_action="Ask for fewer candidates, or name a model that makes as many at once.",
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
