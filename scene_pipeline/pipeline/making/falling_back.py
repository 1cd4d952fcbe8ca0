"""Leaving a provider that cannot make a scene's frame to the next of the project's fallbacks.

Only where it is proven that nothing was charged: nothing was sent yet, or the error says so; and
never where an earlier answer was lost.

Belongs here: ending the attempt and planning the next in one transaction. Does not belong here: who
is next (`pipeline.planning.fallbacks`).
"""

import copy
from typing import TypeVar

from scene_pipeline.database import ledger, results
from scene_pipeline.database.project_settings import read_fallbacks
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import ProviderError, SceneError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.making.run_context import RunContext
from scene_pipeline.pipeline.planning.chains import attempts_before
from scene_pipeline.pipeline.planning.failures import failure_words
from scene_pipeline.pipeline.planning.fallbacks import FallbackPlan, plan_fallback

E = TypeVar("E", bound=SceneError)


async def fall_back(context: RunContext, generation: Generation, error: SceneError) -> FallbackPlan:
    """End a generation as failed and plan a fallback in its place, where there is one.

    Args:
        context: Of the run.
        generation: As it is in the ledger now; the caller holds its lock.
        error: Why it was not made.

    Returns:
        Without an attempt where nothing was changed.

    Raises:
        LedgerError: Another worker moved the row.
    """
    if not _is_allowed(generation, error):
        return FallbackPlan()
    async with context.services.pool.connection() as conn:
        async with conn.transaction() as transaction:
            if not await read_fallbacks(conn, generation.project_id):
                return FallbackPlan()
            unsent = generation
            if generation.state == "submitting":
                unsent = await ledger.return_unsent(conn, generation)
            failed = await results.mark_failed(conn, unsent, error, "not_charged")
            chain = [*await attempts_before(conn, failed), failed]
            plan = await plan_fallback(context.services, conn, chain, context.order.run_id)
            if plan.planned is None:
                transaction.force_rollback = True
        if plan.planned is not None:
            failpoint("after_rung")
    return plan


def with_passed_over(error: E, plan: FallbackPlan) -> E:
    """The error that a scene ends with, saying which fallbacks could not be asked."""
    if not plan.passed_over:
        return error
    told = copy.copy(error)  # one error may be told of many scenes
    told.message = f"{error.message} No fallback was asked: {'; '.join(plan.passed_over)}."
    return told


def _is_allowed(generation: Generation, error: SceneError) -> bool:
    if failure_words(error.error_code) is None or generation.doubtful_submits:
        return False
    if generation.state == "planned":
        return True
    is_open = generation.state in ("submitting", "submitted")
    return is_open and isinstance(error, ProviderError) and error.charge == "not_charged"
