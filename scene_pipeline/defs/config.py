"""What a person can set when launching frames from the UI.

Belongs here: the launchpad's fields and their translation into an order's. Does not belong here:
what is set for the whole program (`settings`) or in the document.
"""

from decimal import Decimal
from typing import Literal

import dagster as dg
from pydantic import Field

from scene_pipeline.scenes.requests import RequestOverrides


class FramesConfig(dg.Config):
    """How the selected scenes get their frames. Everything may be left as it is."""

    mode: Literal["regenerate", "ensure"] = Field(
        default="regenerate",
        description=(
            "regenerate: make and pay for a new version of every selected scene. "
            "ensure: make frames only where none exists, and keep the rest."
        ),
    )
    refresh_stale: bool = Field(
        default=False,
        description="With ensure: also replace frames whose scene was edited since.",
    )
    max_cost_usd: float | None = Field(
        default=None,
        ge=0,
        description=(
            "The most this run may spend, in USD. Left empty, the caps of project and day hold."
        ),
    )
    provider: str | None = Field(
        default=None, description='Image provider for this run: "fal" or "offline".'
    )
    model: str | None = Field(
        default=None, description='Model for this run, such as "fal-ai/flux/schnell".'
    )
    image_size: str | None = Field(
        default=None, description='A preset such as "landscape_16_9", or "1024x576".'
    )
    seed: int | None = Field(
        default=None, ge=0, description="The same seed and prompt give the same picture again."
    )
    steps: int | None = Field(default=None, ge=1, description="Inference steps of the model.")
    prompt_suffix: str | None = Field(
        default=None, description="Words added to the end of every selected scene's prompt."
    )

    @property
    def overrides(self) -> RequestOverrides:
        """The fields that win over document and settings."""
        return RequestOverrides(
            provider=self.provider,
            model=self.model,
            image_size=self.image_size,
            seed=self.seed,
            steps=self.steps,
            prompt_suffix=self.prompt_suffix,
        )

    @property
    def max_cost(self) -> Decimal | None:
        """The run's cap, exact as it was typed."""
        return None if self.max_cost_usd is None else Decimal(str(self.max_cost_usd))
