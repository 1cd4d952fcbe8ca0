"""One scene of a run as planning leaves it, and the ledger row that would stand for it.

Belongs here: plain values and how a resolved request becomes a row. Does not belong here: deciding
(`pipeline.plan`) and doing (`pipeline.scene_flow`).
"""

from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database.rows import Generation, NewGeneration
from scene_pipeline.pipeline.orders import Failure, FrameFacts, FrameOrder, SceneRef
from scene_pipeline.pipeline.survey import SurveyedScene, content_parts
from scene_pipeline.scenes.hashes import idempotency_key, request_hash
from scene_pipeline.scenes.identity import derive_seed
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
    seed = request.seed if request.seed is not None else derive_seed(key)
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
        request_hash=request_hash(
            provider=request.provider,
            endpoint=request.endpoint,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            references=request.references,
            size=request.size,
            seed=seed,
            steps=request.steps,
            guidance=request.guidance,
            output_format=request.output_format,
            arguments=request.arguments,
        ),
        width=request.width,
        height=request.height,
        seed=seed,
        parameters={
            "steps": request.steps,
            "guidance": request.guidance,
            "output_format": request.output_format,
            "arguments": dict(request.arguments),
        },
        estimated_micros=estimate.amount_micros if estimate else 0,
        unit=estimate.unit if estimate else None,
        unit_price_usd=estimate.unit_price if estimate else None,
    )
