"""A person decides about a request whose answer was lost and that could not be looked up.

Belongs here: the three decisions, under the generation's lock. Does not belong here: what follows
from them; the next run carries it out, after one more look into the provider's history.
"""

from dataclasses import dataclass
from datetime import datetime

from scene_pipeline.database import ambiguity, generations
from scene_pipeline.database.ambiguity import Verdict
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.projects import get_project, scene_states, unknown_scene
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import ANOTHER, LedgerError, ProviderError, UsageError, quoted


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was decided, and what it means."""

    generation_id: str
    verdict: Verdict
    sent_at: datetime
    """When the lost request was sent."""
    provider: str
    amount_micros: int
    """What one submit is estimated to cost."""
    state: str
    """The generation's state now."""


async def resolve_lost_request(
    conn: Connection,
    database_url: str,
    project_key: str,
    scene_id: str,
    verdict: Verdict,
    *,
    decided_by: str,
) -> Resolution:
    """Carry a person's decision about a lost request into the ledger; nothing is sent by it.

    Args:
        conn: Outside of a transaction.
        database_url: Of the same database, for the connection that holds the lock.
        project_key: The project.
        scene_id: Its scene.
        verdict: `pay_again`: one more submit, and both may be charged; `not_charged`: it is known
            that the first was never accepted; `abandon`: no further submit, counted as spent.
        decided_by: Who, for the record.

    Raises:
        NotFoundError: There is no such project or scene.
        UsageError: The scene has no request in doubt (code nothing_ambiguous).
        LedgerError: A run is working on the scene (code held_elsewhere).
    """
    project = await get_project(conn, project_key)
    generation = await generations.open_generation(conn, project.id, scene_id)
    if generation is None or generation.state != "submitting":
        known = {state.scene_id for state in await scene_states(conn, project.id)}
        if generation is None and scene_id not in known:
            raise unknown_scene(project_key, scene_id)
        raise _nothing_ambiguous(scene_id)
    async with GenerationLocks.connect(database_url) as locks:
        if not await locks.try_acquire(generation.id):
            raise LedgerError(
                f"A run is working on scene {scene_id} at this moment.",
                code="held_elsewhere",
                next_action="Wait until it has ended, and see with `scene-pipeline status"
                f" {quoted(project_key)}` whether there is still something to decide.",
                retryable=True,
            )
        generation = await generations.get_generation(conn, generation.id)
        if generation.state != "submitting":
            raise _nothing_ambiguous(scene_id)
        decided = await _decide(conn, generation, verdict, decided_by)
    return Resolution(
        generation_id=str(generation.id),
        verdict=verdict,
        sent_at=generation.submitting_at or generation.created_at,
        provider=generation.provider,
        amount_micros=generation.estimated_micros,
        state=decided.state,
    )


async def _decide(
    conn: Connection, generation: Generation, verdict: Verdict, decided_by: str
) -> Generation:
    if verdict == "pay_again":
        return await ambiguity.allow_another_submit(conn, generation, decided_by=decided_by)
    if verdict == "not_charged":
        return await ambiguity.take_for_unsent(conn, generation, decided_by=decided_by)
    given_up = ProviderError(
        f"The request for scene {generation.scene_id} was given up: whether {generation.provider}"
        " accepted it was never known, so it is counted as spent.",
        code="submit_abandoned",
        next_action=f"Ask for another picture with {ANOTHER}.",
        retryable=False,
    )
    return await ambiguity.give_up(conn, generation, given_up, decided_by=decided_by)


def _nothing_ambiguous(scene_id: str) -> UsageError:
    return UsageError(
        f"Scene {scene_id} has no request whose fate is unknown.",
        code="nothing_ambiguous",
        next_action="Run `scene-pipeline status` to see where it stands.",
    )
