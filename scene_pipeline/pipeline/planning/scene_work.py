"""One scene of a run as planning leaves it, and the ledger row that would stand for it.

Belongs here: plain values and how a resolved request becomes a row. Does not belong here: deciding
(`pipeline.planning.plan`) and doing (`pipeline.making.scene_flow`).
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from scene_pipeline.database.rows import Generation, NewGeneration
from scene_pipeline.pipeline.orders import Failure, FrameFacts, FrameOrder, SceneRef
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.pipeline.projects.scene_rows import content_parts
from scene_pipeline.scenes.hashes import idempotency_key
from scene_pipeline.scenes.identity import derive_seed, fixed_seed, next_seed
from scene_pipeline.scenes.overrides import given_overrides
from scene_pipeline.scenes.planning import Action
from scene_pipeline.scenes.requests import ResolvedRequest
from scene_pipeline.scenes.table import PromptRow


@dataclass(frozen=True, slots=True)
class SceneWork:
    """One scene of a run, planned."""

    ref: SceneRef
    project_id: UUID
    action: Action
    reason: str
    generation: Generation | None
    """The row to work on, where there is work that may cost."""
    current: FrameFacts | None
    current_prompt: str | None
    """The document's words that the current version was made from."""
    prompt: PromptRow | None
    content_hash: str | None
    failure: Failure | None = None
    """Why nothing can be done, for the actions `failed` and `invalid`."""


def new_generation(
    order: FrameOrder, scene: SurveyedScene, request: ResolvedRequest, token: str
) -> NewGeneration:
    """The row that stands for this request, named by its token."""
    key = idempotency_key(
        project_id=scene.state.project_id,
        scene_id=scene.ref.scene_id,
        content_hash=request.content_hash,
        endpoint=request.endpoint,
        explicit_parameters=request.explicit_parameters,
        token=token,
        candidate_index=0,
    )
    seed = request.seed if request.seed is not None else _chosen_seed(scene, request, key)
    estimate = scene.estimate
    return NewGeneration(
        project_id=scene.state.project_id,
        scene_id=scene.ref.scene_id,
        idempotency_key=key,
        token=token,
        run_id=order.run_id,
        provider=request.provider,
        endpoint=request.endpoint,
        scene_prompt=request.scene_prompt,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        content=content_parts(request),
        content_hash=request.content_hash,
        request_hash=request.hash_with(seed),
        width=request.width,
        height=request.height,
        seed=seed,
        image_count=request.image_count,
        overrides=given_overrides(scene.overrides) if is_asked_for(token) else {},
        parameters={
            "steps": request.steps,
            "guidance": request.guidance,
            "output_format": request.output_format,
            "arguments": dict(request.arguments),
            **_named_references(request),
        },
        estimated_micros=estimate.amount_micros if estimate else 0,
        unit=estimate.unit if estimate else None,
        unit_price_usd=estimate.unit_price if estimate else None,
    )


INSTEAD: Final = "instead:"
"""Begins the token of what is made in the place of a version whose picture is gone."""


def is_asked_for(token: str) -> bool:
    """Whether a token is that of a version that somebody asked for, and not of a first frame."""
    return bool(token) and not token.startswith(("attempt:", INSTEAD))


def _named_references(request: ResolvedRequest) -> dict[str, list[str]]:
    """Give pictures that a command names in the place of the document's, whose are content."""
    if request.references == request.document_references:
        return {}
    return {"references": list(request.references)}


def _chosen_seed(scene: SurveyedScene, request: ResolvedRequest, key: str) -> int:
    """The seed where nobody gave one, by the policy that holds for the scene."""
    current = scene.state.current_seed
    match request.seed_policy:
        case "fixed":
            return fixed_seed(scene.state.project_id, scene.ref.scene_id)
        case "reuse" if current is not None:
            return current
        case "increment" if current is not None:
            return next_seed(current)
        case _:
            return derive_seed(key)
