"""What is tried after a content check rejected a picture or refused its request.

The rungs, each of them a generation of its own that is paid like any other, under the same caps:

- The *output* was flagged, or is blank: another seed, SCENE_PIPELINE_REJECTION_RESEEDS times in
  all; then SCENE_PIPELINE_REJECTION_FALLBACK_MODEL, once.
- The *prompt* was refused: the same words are refused again, so that the fallback model is asked at
  once.
- A *reference* was refused: nothing is tried by itself; a person looks at that picture first.

A rung is planned in the transaction that ends the one before it, and its key follows from that
one's: any number of workers, and any crash, make one row.

Belongs here: which rung is next, and the words about it. Does not belong here: rows
(`database.rungs`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from scene_pipeline.database import intentions, rungs
from scene_pipeline.database.generations import find_by_key
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.database.rungs import NewRung
from scene_pipeline.errors import ConfigurationError, ProviderError
from scene_pipeline.pipeline.keeping.references import request_hash_of
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.registry import PROVIDER_NAMES
from scene_pipeline.scenes.hashes import canonical_json
from scene_pipeline.scenes.identity import derive_seed
from scene_pipeline.settings import Settings

CONTENT_REJECTED: Final = "content_rejected"
_MARK: Final = "#rung"


@dataclass(frozen=True, slots=True)
class Step:
    """The next rung: whom to ask, and what is different."""

    kind: Literal["reseed", "fallback"]
    provider: str
    endpoint: str


def next_step(settings: Settings, rejected: Generation) -> Step | None:
    """What is tried after this rejection; None where a person is asked.

    At most SCENE_PIPELINE_REJECTION_RESEEDS other seeds and one other model, in whichever order the
    rejections ask for them.
    """
    if rejected.error_code != CONTENT_REJECTED or rejected.flagged_input == "reference":
        return None
    if rejected.flagged_input == "output" and rejected.rung < settings.rejection_reseeds:
        return Step("reseed", rejected.provider, rejected.endpoint)
    fallback = _fallback(settings, rejected.provider)
    if fallback is None or fallback == (rejected.provider, rejected.endpoint):
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
    if rejected.state != "failed":
        return None
    step = next_step(services.settings, rejected)
    if step is None:
        return None
    try:
        provider = services.provider(step.provider)
    except ConfigurationError:
        return None  # a fallback whose key is missing is no fallback
    most = provider.reference_limits(step.endpoint).max_count
    if "references" not in rejected.parameters and len(_document_references(rejected)) > most:
        return None  # without them it would be another picture: a person is asked
    new = _new_rung(services, rejected, step, most)
    return await rungs.plan_rung(conn, rejected, new, run_id)


def _document_references(generation: Generation) -> Sequence[str]:
    return generation.content.get("references") or ()


def _new_rung(services: Services, rejected: Generation, step: Step, max_references: int) -> NewRung:
    rung = rejected.rung + 1
    key = key_after(rejected)
    # Steps, guidance and arguments of one model mean nothing to another.
    own: dict[str, Any] = {"output_format": rejected.parameters.get("output_format")}
    named = rejected.parameters.get("references")
    if named is not None:
        own["references"] = named if len(named) <= max_references else []
    planned = replace(
        rejected,
        provider=step.provider,
        endpoint=step.endpoint,
        seed=derive_seed(key),
        parameters=rejected.parameters if step.kind == "reseed" else own,
        image_count=rejected.image_count if step.kind == "reseed" else 1,
    )
    estimate = services.prices.estimate(
        planned.provider, planned.endpoint, planned.width, planned.height, planned.image_count
    )
    return NewRung(
        idempotency_key=key,
        token=f"{base_token(rejected.token)}{_MARK}{rung}",
        rung=rung,
        provider=planned.provider,
        endpoint=planned.endpoint,
        seed=planned.seed,
        parameters=planned.parameters,
        image_count=planned.image_count,
        request_hash=request_hash_of(planned, ()),
        estimated_micros=estimate.amount_micros,
        unit=estimate.unit,
        unit_price_usd=estimate.unit_price,
    )


def key_after(rejected: Generation) -> str:
    """The idempotency key of whatever is tried after this generation."""
    named = canonical_json(["rung", [rejected.idempotency_key, rejected.rung + 1]])
    return hashlib.sha256(named.encode("utf-8")).hexdigest()


def base_token(token: str) -> str:
    """The token of the request that a rung belongs to."""
    return token.partition(_MARK)[0]


async def following(conn: Connection, rejected: Generation) -> Generation | None:
    """The attempt that was planned in the place of a rejected one, whatever became of it."""
    if rejected.state != "failed" or rejected.error_code != CONTENT_REJECTED:
        return None
    return await find_by_key(conn, key_after(rejected))


async def last_rung(conn: Connection, first: Generation) -> Generation:
    """The last attempt that followed from a generation; itself where nothing did."""
    last = first
    while (after := await following(conn, last)) is not None:
        last = after
    return last


async def reprice(services: Services, conn: Connection, generation: Generation) -> Generation:
    """Give an unsent rung today's price, as planning does for a scene's own model."""
    estimate = services.prices.estimate(
        generation.provider,
        generation.endpoint,
        generation.width,
        generation.height,
        generation.image_count,
    )
    return await intentions.reprice_unsent(
        conn,
        generation,
        estimated_micros=estimate.amount_micros,
        unit=estimate.unit,
        unit_price_usd=estimate.unit_price,
    )


def explain_reference(error: ProviderError, generation: Generation, project_key: str) -> None:
    """Name the picture that was refused, and what a person can do about it."""
    if error.flagged_input != "reference" or not generation.reference_images:
        return
    sent, scene_id = generation.reference_images[0], generation.scene_id
    before = sent.get("scene_id")
    again = f"`scene-pipeline regenerate {project_key} {scene_id}`"
    error.next_action = (
        f"Look at the pictures that were sent along, and name others: {again}."
        if before is None
        else f"Look at version {sent['version']} of {before}, which was sent along: replace it"
        f" (`scene-pipeline regenerate {project_key} {before}`, or `promote` another version), then"
        f" ask for {scene_id} again: {again}."
    )


_FLAGGED = {
    "prompt": "the prompt was refused",
    "reference": "the reference picture was refused",
    "output": "the picture was flagged or blank",
    None: "the request was refused",
}


def rung_words(settings: Settings, generation: Generation) -> str:
    """What a rung does differently, in a few words."""
    if generation.rung == 0:
        return f"{generation.endpoint}, seed {generation.seed}"
    fallback = _fallback(settings, generation.provider)
    if fallback == (generation.provider, generation.endpoint):
        return f"the fallback model {generation.endpoint}"
    return f"another seed, {generation.seed}"


def story(settings: Settings, before: Sequence[Generation]) -> str:
    """What was rejected so far, attempt by attempt."""
    told = [
        f"{rung_words(settings, attempt)}: {_FLAGGED[attempt.flagged_input]}" for attempt in before
    ]
    return "; ".join(told)


def rescued_note(
    settings: Settings, generation: Generation, before: Sequence[Generation]
) -> Failure | None:
    """What a scene's outcome says where a later rung made its frame."""
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
