"""Attempts that follow from each other: a first one, and what was planned where each one ended.

The key of an attempt follows from the key of the one before it, so that any number of workers, and
any crash, make one row for each place of a chain. An attempt of an earlier run that cost nothing
leaves its row to the next one at its place.

Belongs here: keys, tokens and the way along a chain. Does not belong here: which attempt is next
(`ladder`, `fallbacks`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from scene_pipeline.database import intentions, rungs
from scene_pipeline.database.generations import find_by_key
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.database.rungs import NewRung
from scene_pipeline.pipeline.keeping.references import request_hash_of
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.hashes import canonical_json
from scene_pipeline.scenes.identity import derive_seed

_MARK: Final = "#rung"


def key_after(failed: Generation) -> str:
    """The idempotency key of whatever is tried after this generation."""
    named = canonical_json(["rung", [failed.idempotency_key, failed.rung + 1]])
    return hashlib.sha256(named.encode("utf-8")).hexdigest()


def base_token(token: str) -> str:
    """The token of the request that an attempt belongs to."""
    return token.partition(_MARK)[0]


def named_references(generation: Generation) -> Sequence[str] | None:
    """Pictures that a request named in the place of the document's; None where it named none."""
    named: Sequence[str] | None = generation.parameters.get("references")
    return named


def document_references(generation: Generation) -> Sequence[str]:
    """Pictures to go by that the document names."""
    return generation.content.get("references") or ()


def wanted_references(generation: Generation) -> Sequence[str]:
    """Pictures to go by: those that its request named, else the document's."""
    named = named_references(generation)
    return document_references(generation) if named is None else named


def next_rung(
    services: Services,
    failed: Generation,
    provider: str,
    endpoint: str,
    *,
    parameters: Mapping[str, Any],
    image_count: int,
    fallback: Mapping[str, Any] | None,
) -> NewRung:
    """What is planned in the place after a failed attempt, at today's price.

    Args:
        services: For the price.
        failed: The one before it.
        provider: Whom to ask.
        endpoint: For which model.
        parameters: What the model is given besides words, size and seed.
        image_count: Pictures to make at once.
        fallback: As in `Generation`.
    """
    rung, key = failed.rung + 1, key_after(failed)
    planned = replace(
        failed,
        provider=provider,
        endpoint=endpoint,
        seed=derive_seed(key),
        parameters=parameters,
        image_count=image_count,
    )
    estimate = services.prices.estimate(
        provider, endpoint, failed.width, failed.height, image_count
    )
    return NewRung(
        idempotency_key=key,
        token=f"{base_token(failed.token)}{_MARK}{rung}",
        rung=rung,
        provider=provider,
        endpoint=endpoint,
        seed=planned.seed,
        parameters=parameters,
        image_count=image_count,
        request_hash=request_hash_of(planned, ()),
        estimated_micros=estimate.amount_micros,
        unit=estimate.unit,
        unit_price_usd=estimate.unit_price,
        fallback=fallback,
    )


def own_parameters(failed: Generation) -> dict[str, Any]:
    """What another model is given: steps, guidance and arguments of the first mean nothing to it.

    Pictures to go by stay: a model that does not take them all is not asked.
    """
    own: dict[str, Any] = {"output_format": failed.parameters.get("output_format")}
    named = named_references(failed)
    if named is not None:
        own["references"] = list(named)
    return own


async def attempts_before(conn: Connection, generation: Generation) -> list[Generation]:
    """The failed attempts that led to a generation, the first one first."""
    chain: list[Generation] = []
    key = generation.idempotency_key
    for attempt in reversed(await rungs.earlier_attempts(conn, generation)):
        if key_after(attempt) == key:
            chain.insert(0, attempt)
            key = attempt.idempotency_key
    return chain


async def following(conn: Connection, failed: Generation) -> Generation | None:
    """The attempt that was planned in the place of a failed one, whatever became of it.

    One from before the failed one was tried again does not follow from it.
    """
    if failed.state != "failed":
        return None
    after = await find_by_key(conn, key_after(failed))
    return after if after is not None and after.seq > failed.seq else None


async def last_rung(conn: Connection, first: Generation) -> Generation:
    """The last attempt that followed from a generation; itself where nothing did."""
    last = first
    while (after := await following(conn, last)) is not None:
        last = after
    return last


def cost_nothing(attempt: Generation) -> bool:
    """Whether an ended attempt is free to be tried again."""
    is_unpaid = attempt.error_charge == "not_charged" and attempt.flagged_input is None
    return attempt.state == "abandoned" or (attempt.state == "failed" and is_unpaid)


async def begin_again(conn: Connection, last: Generation) -> Generation:
    """Where a chain that ended without any cost is taken up: the first model, if it cost nothing.

    What led to the last attempt and was paid, or was rejected, is not tried again. The request that
    the last one failed to answer goes along.
    """
    begin = last
    for attempt in reversed(await attempts_before(conn, last)):
        if not cost_nothing(attempt):
            break
        begin = attempt
    if begin.id != last.id:
        await rungs.hand_back(conn, last, begin)
    return begin


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
