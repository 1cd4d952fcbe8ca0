"""Named fallbacks: who makes a scene's frame where the models before it could not.

A fallback is planned like a rung of the ladder: in the transaction that ends the failed attempt,
with a key that follows from that one's, under the same caps, at the price of its own model. Every
provider and model is asked once in a chain, whatever becomes of the list meanwhile.

Belongs here: who is next, and why somebody is passed over. Does not belong here: the list
(`pipeline.projects.fallbacks`), for which failures (`failures`), ending an attempt
(`pipeline.making.falling_back`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database import rungs
from scene_pipeline.database.events import append_generation_event
from scene_pipeline.database.project_settings import read_fallbacks
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.pipeline.planning import chains
from scene_pipeline.pipeline.planning.failures import is_key_missing, what_came_of
from scene_pipeline.pipeline.projects.fallbacks import Fallback, read_list
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ReferenceLimits
from scene_pipeline.providers.registry import build_provider
from scene_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class FallbackPlan:
    """What came of looking for a fallback."""

    planned: Generation | None = None
    """The next attempt, open."""
    passed_over: tuple[str, ...] = ()
    """Entries of the list that cannot be used for this scene, and why, in words."""


async def plan_fallback(
    services: Services, conn: Connection, chain: Sequence[Generation], run_id: str
) -> FallbackPlan:
    """Plan the next of the project's fallbacks, in the transaction that ends the last attempt.

    Args:
        services: For providers, prices and settings.
        conn: In that transaction.
        chain: The attempts so far, the failed one last.
        run_id: Of the run that saw the failure.

    Returns:
        Without an attempt where the list has none left that can be used, or the scene has gone on
        meanwhile.
    """
    failed = chain[-1]
    listed = read_list(await read_fallbacks(conn, failed.project_id))
    tried = {(attempt.provider, attempt.endpoint) for attempt in chain}
    passed_over = list(listed.problems)
    for number, fallback in listed.entries:
        if (fallback.provider, fallback.model) in tried:
            continue
        reason = _why_not(services, failed, fallback)
        if reason is not None:
            passed_over.append(f"{fallback} was passed over: {reason}")
            continue
        words = [*(what_came_of(attempt) for attempt in chain), *passed_over]
        because = {"number": number, "of": listed.length, "because": "; ".join(words)}
        new = chains.next_rung(
            services,
            failed,
            fallback.provider,
            fallback.model,
            parameters=chains.own_parameters(failed),
            image_count=1,
            fallback=because,
        )
        planned = await rungs.plan_rung(conn, failed, new, run_id)
        if planned is not None:
            named = {"provider": planned.provider, "model": planned.endpoint}
            await append_generation_event(
                conn, planned, "generation_fallback", run_id=run_id, data=because | named
            )
        return FallbackPlan(planned, tuple(passed_over))
    return FallbackPlan(None, tuple(passed_over))


async def check_keys(
    conn: Connection, settings: Settings, project_id: UUID, providers: Collection[str]
) -> None:
    """Tell a missing key before anything is begun, unless a fallback can be asked without it.

    Args:
        conn: For the project's list.
        settings: With the keys.
        project_id: Whose scenes are to be made.
        providers: Who is asked for them first.

    Raises:
        ConfigurationError: A provider cannot be built, and nobody stands in for it.
    """
    listed = read_list(await read_fallbacks(conn, project_id))
    for name in sorted(providers):
        problem = unusable_provider(settings, name)
        others = {fallback.provider for _, fallback in listed.entries}
        if problem is not None and not (
            is_key_missing(problem.error_code)
            and any(unusable_provider(settings, other) is None for other in others)
        ):
            raise problem


def unusable_provider(settings: Settings, provider: str) -> ConfigurationError | None:
    """Why a provider cannot be built, as where its key is missing; None where it can."""
    try:
        build_provider(provider, settings).close()
    except ConfigurationError as error:
        return error
    return None


def _why_not(services: Services, failed: Generation, fallback: Fallback) -> str | None:
    """Why a fallback is not asked for this scene, in words; None where it is."""
    try:
        provider = services.provider(fallback.provider)
    except ConfigurationError as error:
        return (
            "its key is missing" if is_key_missing(error.error_code) else "its key cannot be used"
        )
    limits = provider.reference_limits(fallback.model)
    price = services.prices.estimate(
        fallback.provider, fallback.model, failed.width, failed.height
    ).unit_price
    is_priced = provider.capabilities.is_free or price is not None
    return unfit(
        limits,
        len(chains.wanted_references(failed)),
        has_other_picture=bool(failed.reference_images),
        is_priced=is_priced or services.settings.allow_unknown_price,
    )


def unfit(
    limits: ReferenceLimits,
    named_count: int,
    *,
    has_other_picture: bool = False,
    is_priced: bool,
) -> str | None:
    """Why a model cannot stand in for another one, in words; None where it can.

    Args:
        limits: What it takes.
        named_count: Reference pictures that are named for the scene.
        has_other_picture: Whether there is one that nobody named, as of the scene before it.
        is_priced: Whether its price is known, or need not be.
    """
    if named_count > limits.max_count:
        taken = limits.max_count or "no"
        return f"it takes {taken} reference picture{'' if taken == 1 else 's'}"
    if limits.is_required and not named_count and not has_other_picture:
        return "it makes nothing without a reference picture"
    return None if is_priced else "its price is unknown"
