"""Several candidates of one request on their way into the store.

Belongs here: their order, and what happens to all where one cannot be had or stored. Does not
belong here: the steps of one picture (`pipeline.making.placing`), versions (`database.recording`).
"""

from collections.abc import Sequence

from scene_pipeline.database import candidates
from scene_pipeline.database.candidates import Candidate
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import SceneError, StorageError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.external import NO_OUTAGE
from scene_pipeline.pipeline.keeping.retrieve import Picture
from scene_pipeline.pipeline.making.placing import (
    SeenPicture,
    is_lost,
    mark_stored,
    place_picture,
    see_picture,
)
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice


async def store_candidates(
    context: RunContext,
    generation: Generation,
    first: Picture,
    further: Sequence[Picture],
    voice: SceneVoice,
) -> Generation:
    """Store the pictures of one request: the further ones, each kept on its own, then the first.

    While the object store is down they wait at the provider, and a later run takes them up: the
    ledger has one address of the provider's per generation, and nobody needs candidates at once. A
    picture that is lost for good is left out as long as another one can be had.

    Raises:
        SceneError: A step failed; what was kept is kept, and the next run goes on from there.
    """
    try:
        kept = [
            candidate
            for picture in further
            if (candidate := await _keep_candidate(context, generation, picture, voice)) is not None
        ]
        try:
            seen = await see_picture(context, generation, first, voice)
        except SceneError as error:
            if not kept or not is_lost(error):
                raise
            async with context.services.pool.connection() as conn:
                stored = await candidates.store_candidate_first(conn, generation, kept[0])
        else:
            stored = await place_picture(context, generation, seen, voice, mark_stored)
    except StorageError as error:
        message = f"{error.message} The candidates wait at {generation.provider} meanwhile."
        raise StorageError(
            message,
            code=error.error_code,
            next_action=error.next_action,
            retryable=error.error_code not in NO_OUTAGE,
        ) from error
    return stored


async def _keep_candidate(
    context: RunContext, generation: Generation, picture: Picture, voice: SceneVoice
) -> Candidate | None:
    """Store one further picture, or find it stored; None where it cannot be had."""
    async with context.services.pool.connection() as conn:
        known = await candidates.list_candidates(conn, generation.id)
    for candidate in known:
        if candidate.image_index == picture.index:
            return candidate
    try:
        seen = await see_picture(context, generation, picture, voice)
    except SceneError as error:
        if not is_lost(error):
            raise
        await voice.progress("downloading", f"candidate {picture.index + 1}: {error.message}")
        return None

    async def keep(
        conn: Connection, generation: Generation, key: str, seen: SeenPicture
    ) -> Candidate:
        candidate = Candidate(picture.index, key, seen.facts, seen.image.thumbnail)
        await candidates.keep_candidate(conn, generation, candidate)
        return candidate

    kept = await place_picture(context, generation, seen, voice, keep)
    failpoint("candidate_after_keep")
    return kept
