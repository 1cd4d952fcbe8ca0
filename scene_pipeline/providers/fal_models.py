"""What Fal's models take and give, by family.

Belongs here: the table, and finding a model's line in it. Does not belong here: building what is
sent (`fal_arguments`). Families are data: a new one is one line. Sources: the input schemas on the
models' own pages; what a page does not tell is left at its cautious default.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from scene_pipeline.providers.base import NO_REFERENCES, ReferenceLimits

_RATIOS = ("21:9", "16:9", "3:2", "4:3", "1:1", "3:4", "2:3", "9:16", "9:21")
_IMAGEN_RATIOS = ("16:9", "4:3", "1:1", "3:4", "9:16")
_BANANA_RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """Which parameters the models under one prefix take; others are left out."""

    prefix: str
    """Leading path segments of the endpoint, "fal-ai/flux-pro/v1.1"."""
    size: Literal["image_size", "aspect_ratio", "none"] = "image_size"
    """none: the picture gets the size of the reference."""
    aspect_ratios: tuple[str, ...] = _RATIOS
    """The ratios a model knows by name, where it takes no size in pixels."""
    takes_steps: bool = True
    takes_guidance: bool = True
    max_images: int = 4
    """Pictures of one request; 1 where the model has no `num_images`."""
    takes_negative_prompt: bool = False
    references: Literal["none", "image_url", "image_urls"] = "none"
    """The argument that takes pictures to go by: one address, or a list."""
    max_references: int = 0
    needs_reference: bool = False
    """Whether it makes nothing without one: an image-to-image model."""

    @property
    def reference_limits(self) -> ReferenceLimits:
        """Which pictures it can be given to go by."""
        if self.references == "none":
            return NO_REFERENCES
        return ReferenceLimits(
            max_count=self.max_references,
            argument=self.references,
            is_required=self.needs_reference,
        )

    @property
    def takes_num_images(self) -> bool:
        """Whether the model has the argument `num_images`."""
        return self.max_images > 1


_edits = partial(ModelFamily, needs_reference=True)

_BANANAS = ("fal-ai/nano-banana", "fal-ai/nano-banana-pro", "fal-ai/nano-banana-2")
_SEEDREAMS = ("fal-ai/bytedance/seedream/v4", "fal-ai/bytedance/seedream/v4.5")

_FAMILIES = (
    ModelFamily("fal-ai/flux"),
    _edits("fal-ai/flux/dev/image-to-image", references="image_url", max_references=1, size="none"),
    ModelFamily("fal-ai/flux-1"),
    _edits(
        "fal-ai/flux-1/dev/image-to-image", references="image_url", max_references=1, size="none"
    ),
    ModelFamily("fal-ai/flux-lora"),
    ModelFamily("fal-ai/flux-2"),
    _edits("fal-ai/flux-2/edit", references="image_urls", max_references=3),
    _edits("fal-ai/flux-2/lora/edit", references="image_urls", max_references=3),
    ModelFamily("fal-ai/flux-2-pro", takes_steps=False, takes_guidance=False, max_images=1),
    _edits(
        "fal-ai/flux-2-pro/edit",
        references="image_urls",
        max_references=3,
        takes_steps=False,
        takes_guidance=False,
        max_images=1,
    ),
    ModelFamily("fal-ai/flux-2-max", takes_steps=False, takes_guidance=False, max_images=1),
    _edits(
        "fal-ai/flux-2-max/edit",
        references="image_urls",
        max_references=3,
        takes_steps=False,
        takes_guidance=False,
        max_images=1,
    ),
    ModelFamily("fal-ai/flux-2-flex", max_images=1),
    _edits("fal-ai/flux-2-flex/edit", references="image_urls", max_references=3, max_images=1),
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
        family
        for kontext in ("fal-ai/flux-pro/kontext", "fal-ai/flux-pro/kontext/max")
        for family in (
            _edits(
                kontext,
                references="image_url",
                max_references=1,
                size="aspect_ratio",
                takes_steps=False,
            ),
            _edits(
                f"{kontext}/multi",
                references="image_urls",
                max_references=4,
                size="aspect_ratio",
                takes_steps=False,
            ),
            ModelFamily(f"{kontext}/text-to-image", size="aspect_ratio", takes_steps=False),
        )
    ),
    *(
        family
        for banana in _BANANAS
        for family in (
            ModelFamily(
                banana,
                size="aspect_ratio",
                aspect_ratios=_BANANA_RATIOS,
                takes_steps=False,
                takes_guidance=False,
            ),
            _edits(
                f"{banana}/edit",
                references="image_urls",
                max_references=3,
                size="aspect_ratio",
                aspect_ratios=_BANANA_RATIOS,
                takes_steps=False,
                takes_guidance=False,
            ),
        )
    ),
    *(
        family
        for seedream in _SEEDREAMS
        for family in (
            ModelFamily(seedream, takes_steps=False, takes_guidance=False, max_images=6),
            _edits(
                f"{seedream}/edit",
                references="image_urls",
                max_references=10,
                takes_steps=False,
                takes_guidance=False,
                max_images=6,
            ),
        )
    ),
    ModelFamily(
        "fal-ai/imagen4/preview",
        size="aspect_ratio",
        aspect_ratios=_IMAGEN_RATIOS,
        takes_steps=False,
        takes_guidance=False,
    ),
    ModelFamily("fal-ai/fast-sdxl", takes_negative_prompt=True),
    ModelFamily("fal-ai/stable-diffusion-v35-large", takes_negative_prompt=True),
    ModelFamily("fal-ai/stable-diffusion-v35-medium", takes_negative_prompt=True),
    ModelFamily("fal-ai/qwen-image", takes_negative_prompt=True),
    _edits(
        "fal-ai/qwen-image-edit",
        references="image_url",
        max_references=1,
        takes_negative_prompt=True,
    ),
    _edits(
        "fal-ai/qwen-image-edit-plus",
        references="image_urls",
        max_references=3,
        takes_negative_prompt=True,
    ),
)
_UNLISTED = ModelFamily("")
_UNLISTED_BY_ENDING = {
    "/image-to-image": _edits(
        "", references="image_url", max_references=1, size="none", max_images=1
    ),
    "/edit": _edits("", references="image_urls", max_references=1, max_images=1),
}
"""What endings mean by custom. A wrong guess costs nothing: Fal refuses an input that lacks what
its schema asks for before it runs."""


def model_family(endpoint: str) -> ModelFamily:
    """The family with the longest prefix that fits; a cautious default for models not listed.

    An ending that means another kind of model ("/edit") decides before a shorter prefix does.
    """
    fitting = [
        family
        for family in _FAMILIES
        if endpoint == family.prefix or endpoint.startswith(f"{family.prefix}/")
    ]
    listed = max(fitting, key=lambda family: len(family.prefix), default=_UNLISTED)
    for ending, family in _UNLISTED_BY_ENDING.items():
        if endpoint.endswith(ending) and listed.references == "none":
            return family
    return listed
