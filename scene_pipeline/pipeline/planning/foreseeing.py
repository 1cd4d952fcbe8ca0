"""What becomes of scenes whose reference pictures cannot be sent, told before a run as it will be.

Where the model takes no such pictures, a run hands the scene to the next of the project's
fallbacks: `plan` and a dry run say so by the same rules, without planning anything.

Belongs here: the foresight. Does not belong here: planning a fallback
(`pipeline.planning.fallbacks`), why pictures are refused (`pipeline.references.refusals`).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scene_pipeline.errors import named
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.planning.failures import failure_words
from scene_pipeline.pipeline.planning.fallbacks import unfit, unusable_provider
from scene_pipeline.pipeline.projects.fallbacks import Fallback, FallbackList
from scene_pipeline.pipeline.references.refusals import PictureRefusals
from scene_pipeline.providers.prices import Estimate, PriceTable
from scene_pipeline.providers.registry import reference_limits
from scene_pipeline.scenes.requests import ResolvedRequest
from scene_pipeline.settings import Settings

if TYPE_CHECKING:
    from scene_pipeline.pipeline.planning.survey import SurveyedScene


@dataclass(frozen=True, slots=True)
class Takeover:
    """A fallback that will be asked for a scene in the place of the first model."""

    fallback: Fallback
    number: int
    """Its place in the project's list, from 1."""
    of: int
    estimate: Estimate
    """What it would cost."""
    blocked: Failure | None
    """Why the pictures cannot be sent to it, either; nobody else is asked then."""


@dataclass(frozen=True, slots=True)
class PictureForesight:
    """Foresees what the reference pictures of a document mean for its scenes.

    Attributes:
        settings: For the keys.
        prices: For a fallback's own price.
        listed: The project's fallbacks.
        refusals: Judges the pictures.
    """

    settings: Settings
    prices: PriceTable
    listed: FallbackList
    refusals: PictureRefusals

    def of(self, scene: "SurveyedScene") -> "SurveyedScene":
        """A scene that would be paid for, with why it cannot be made, or who makes it instead."""
        decision, request = scene.decision, scene.request
        is_unsent = decision.action == "resume" and scene.state.open_state == "planned"
        if request is None or not (decision.action == "generate" or is_unsent):
            return scene
        blocked = self.refusals.of(scene.ref.scene_id, request)
        if blocked is None:
            return scene
        words, takeover = blocked.message, None
        if failure_words(blocked.code) is not None:
            takeover = self._takeover(scene.ref.scene_id, request)
        if takeover is not None:
            blocked = takeover.blocked
            words += f" Fallback {takeover.number} of {takeover.of} is asked: {takeover.fallback}."
            words += f" {blocked.message}" if blocked is not None else ""
        told = replace(decision, reason=words if blocked is None else f"blocked: {words}")
        if blocked is not None:
            action = named(blocked.next_action, scene.ref.project_key, scene.ref.scene_id)
            blocked = replace(blocked, next_action=action)
        return replace(scene, decision=told, blocked=blocked, takeover=takeover)

    def _takeover(self, scene_id: str, request: ResolvedRequest) -> Takeover | None:
        """Who would make a scene that its own model cannot make; None where nobody would."""
        for number, fallback in self.listed.entries:
            provider, model = fallback.provider, fallback.model
            if (provider, model) == (request.provider, request.endpoint):
                continue
            if unusable_provider(self.settings, provider) is not None:
                continue
            estimate = self.prices.estimate(provider, model, request.width, request.height)
            reason = unfit(
                reference_limits(provider, model),
                len(request.references),
                is_priced=estimate.is_known or self.settings.allow_unknown_price,
            )
            if reason is None:
                other = replace(request, provider=provider, endpoint=model)
                refused = self.refusals.of(scene_id, other)
                return Takeover(fallback, number, self.listed.length, estimate, refused)
        return None
