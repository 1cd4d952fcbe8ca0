"""What is tried after a content check rejected a picture or refused its request.

The rungs, each of them a generation of its own that is paid like any other, under the same caps:

- The *output* was flagged, or is blank: another seed, SCENE_PIPELINE_REJECTION_RESEEDS times in
  all; then SCENE_PIPELINE_REJECTION_FALLBACK_MODEL, once; then the project's fallbacks.
- The *prompt* was refused: the same words are refused again, so that the fallback model is asked at
  once.
- A *reference* was refused: nothing is tried by itself; a person looks at that picture first.

A rung is planned in the transaction that ends the one before it (`chains`).

Belongs here: which rung is next, and the words about it. Does not belong here: rows
(`database.rungs`), other failures and the project's list (`fallbacks`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scene_pipeline.database import rungs
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import ConfigurationError, ProviderError, quoted
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.planning import chains
from scene_pipeline.pipeline.planning.failures import CONTENT_REJECTED, FLAGGED, what_came_of
from scene_pipeline.pipeline.planning.fallbacks import plan_fallback
from scene_pipeline.pipeline.projects.fallbacks import Fallback, made_by_fallback
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.registry import PROVIDER_NAMES
from scene_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Step:
    """The next rung: whom to ask, and what is different."""

    kind: Literal["reseed", "fallback"]
    provider: str
    endpoint: str


def next_step(
    settings: Settings, rejected: Generation, before: Sequence[Generation] = ()
) -> Step | None:
    """What is tried after this rejection; None where the project's fallbacks are next.

    At most SCENE_PIPELINE_REJECTION_RESEEDS other seeds and one other model, in whichever order the
    rejections ask for them.

    Args:
        settings: Of this process.
        rejected: The failed attempt.
        before: The attempts that led to it.
    """
    if rejected.error_code != CONTENT_REJECTED or rejected.flagged_input == "reference":
        return None
    if rejected.flagged_input == "output" and rejected.rung < settings.rejection_reseeds:
        return Step("reseed", rejected.provider, rejected.endpoint)
    chain = [*before, rejected]
    fallback = _fallback(settings, chain[0].provider)
    if fallback is None or fallback in {(one.provider, one.endpoint) for one in chain}:
        return None
    return Step("fallback", *fallback)


def _fallback(settings: Settings, provider: str) -> tuple[str, str] | None:
    named = settings.rejection_fallback_model
    if not named:
        return None
    # A model's own name may hold a colon: only a provider that there is comes before one.
    prefix, colon, model = named.partition(":")
    if colon and model and prefix in PROVIDER_NAMES:
        return prefix, model
    return provider, named


async def plan_next(
    services: Services, conn: Connection, rejected: Generation, run_id: str
) -> Generation | None:
    """Plan what is tried after a rejection, in the transaction that ends the rejected generation.

    Returns:
        The next rung; None where there is none, or the scene has gone on meanwhile.
    """
    is_rejected = rejected.state == "failed" and rejected.error_code == CONTENT_REJECTED
    if not is_rejected or rejected.flagged_input == "reference":
        return None
    before = await chains.attempts_before(conn, rejected)
    step = next_step(services.settings, rejected, before)
    planned = await _plan_step(services, conn, rejected, step, run_id) if step else None
    if planned is not None:
        return planned
    return (await plan_fallback(services, conn, [*before, rejected], run_id)).planned


async def _plan_step(
    services: Services, conn: Connection, rejected: Generation, step: Step, run_id: str
) -> Generation | None:
    try:
        provider = services.provider(step.provider)
    except ConfigurationError:
        return None  # a fallback whose key is missing is no fallback
    most = provider.reference_limits(step.endpoint).max_count
    if len(chains.wanted_references(rejected)) > most:
        return None  # without them it would be another picture: a person is asked
    is_reseed = step.kind == "reseed"
    new = chains.next_rung(
        services,
        rejected,
        step.provider,
        step.endpoint,
        parameters=rejected.parameters if is_reseed else chains.own_parameters(rejected),
        image_count=rejected.image_count if is_reseed else 1,
        fallback=rejected.fallback if is_reseed else None,
    )
    return await rungs.plan_rung(conn, rejected, new, run_id)


def explain_reference(error: ProviderError, generation: Generation, project_key: str) -> None:
    """Name the picture that was refused, and what a person can do about it."""
    if error.flagged_input != "reference" or not generation.reference_images:
        return
    sent, scene_id = generation.reference_images[0], generation.scene_id
    before = sent.get("scene_id")
    again = _regenerate(project_key, scene_id)
    error.next_action = (
        f"Look at the pictures that were sent along, and name others: {again}."
        if before is None
        else f"Look at version {sent['version']} of {before}, which was sent along: replace it"
        f" ({_regenerate(project_key, before)}, or `promote` another version), then"
        f" ask for {scene_id} again: {again}."
    )


def _regenerate(project_key: str, scene_id: str) -> str:
    return f"`scene-pipeline regenerate {quoted(project_key)} {quoted(scene_id)}`"


def rung_words(settings: Settings, generation: Generation) -> str:
    """What a rung does differently, in a few words."""
    if generation.fallback is not None:
        place = f"fallback {generation.fallback.get('number')} of {generation.fallback.get('of')}"
        return f"{place}: {Fallback(generation.provider, generation.endpoint)}"
    if generation.rung == 0:
        return f"{generation.endpoint}, seed {generation.seed}"
    fallback = _fallback(settings, generation.provider)
    if fallback == (generation.provider, generation.endpoint):
        return f"the fallback model {generation.endpoint}"
    return f"another seed, {generation.seed}"


def story(settings: Settings, before: Sequence[Generation]) -> str:
    """What was rejected, or failed otherwise, so far, attempt by attempt."""
    told = [
        f"{rung_words(settings, attempt)}: {FLAGGED[attempt.flagged_input]}"
        if attempt.error_code == CONTENT_REJECTED
        else what_came_of(attempt)
        for attempt in before
    ]
    return "; ".join(told)


def rescued_note(
    settings: Settings, project_key: str, generation: Generation, before: Sequence[Generation]
) -> Failure | None:
    """What a scene's outcome says where another attempt than the first made its frame."""
    if generation.fallback is not None:
        words = made_by_fallback(generation.fallback, generation.provider, generation.endpoint)
        again = _regenerate(project_key, generation.scene_id)
        return Failure(
            code="made_by_fallback",
            message=f"{words}.",
            next_action=f"Keep it, or ask for another one by the first model again: {again}.",
        )
    if not before:
        return None
    message = (
        f"Scene {generation.scene_id} was rejected at first ({story(settings, before)}); rung"
        f" {generation.rung} made its frame: {rung_words(settings, generation)}."
    )
    return Failure(
        code="content_rejected_before",
        message=message,
        next_action="Nothing is to be done; pictures that were rejected are kept as versions.",
    )
