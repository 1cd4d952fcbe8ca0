"""From a persisted result to a recorded version: fetch, check, store, record.

Every step can be done again: the key depends only on the generation and the bytes, an intent row
precedes the upload, and recording is keyed by the generation. While the object store is down, the
version is recorded with the provider's own address, and healed later; several candidates wait.
"""

from collections.abc import Mapping
from typing import Any

from scene_pipeline.database import candidates, results
from scene_pipeline.database.continuity import wake_followers
from scene_pipeline.database.healing import mark_external
from scene_pipeline.database.recording import CheckedPicture, record_versions
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import ChargeVerdict, LedgerError, SceneError, StorageError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.external import external_address
from scene_pipeline.pipeline.keeping.frame_keys import OBJECT_COLLECTED
from scene_pipeline.pipeline.keeping.retrieve import Picture, pictures_of
from scene_pipeline.pipeline.making.candidates import store_candidates
from scene_pipeline.pipeline.making.placing import (
    PLACE_ATTEMPTS,
    SeenPicture,
    is_lost,
    mark_stored,
    place_picture,
    see_picture,
)
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.planning import ladder
from scene_pipeline.telemetry.stages import stage


async def rehost(context: RunContext, generation: Generation, voice: SceneVoice) -> Generation:
    """Bring a completed generation to `recorded` (or to `failed`, `superseded` with a version).

    The caller holds the generation's lock.

    Raises:
        SceneError: A step failed; the row stays where it is and the next run goes on from there,
            unless the picture is lost for good.
    """
    for attempt in range(1, PLACE_ATTEMPTS + 1):
        try:
            if generation.state == "completed":
                generation = await _store(context, generation, voice)
        except SceneError as error:
            await _keep_error(context, generation, error)
            raise
        if generation.state != "stored":
            break
        try:
            with stage("record"):
                return await _record(context, generation)
        except LedgerError as error:
            if error.error_code != OBJECT_COLLECTED or attempt == PLACE_ATTEMPTS:
                raise
            async with context.services.pool.connection() as conn:
                generation = await results.store_again(conn, generation)
    return generation


async def _record(context: RunContext, generation: Generation) -> Generation:
    store = context.services.store
    async with context.services.pool.connection() as conn, conn.transaction():
        further = await candidates.list_candidates(conn, generation.id)
        if generation.storage_status == "external":
            url = generation.external_url or ""
        else:
            url = store.url(generation.storage_key or "")
        facts = generation.image or {}
        first = CheckedPicture(
            image_index=facts.get("image_index", 0),
            url=url,
            storage_key=generation.storage_key,
            image=facts,
            thumbnail=generation.thumbnail,
            rejection=_rejection(generation, facts),
        )
        recorded = await record_versions(
            conn,
            generation,
            [
                first,
                *(
                    CheckedPicture(
                        image_index=candidate.image_index,
                        url=store.url(candidate.storage_key),
                        storage_key=candidate.storage_key,
                        image=candidate.image,
                        thumbnail=candidate.thumbnail,
                        rejection=_rejection(generation, candidate.image),
                    )
                    for candidate in further
                ),
            ],
        )
        # Rejected and followed up in one transaction: no crash comes between the two.
        await ladder.plan_next(context.services, conn, recorded, context.order.run_id)
        if recorded.state == "recorded":
            await wake_followers(conn, recorded)
    failpoint("after_recorded")
    return recorded


async def _store(context: RunContext, generation: Generation, voice: SceneVoice) -> Generation:
    first, *further = pictures_of(generation)
    if further:
        stored = await store_candidates(context, generation, first, further, voice)
    else:
        stored = await _store_only(context, generation, first, voice)
    failpoint("after_stored")
    return stored


async def _store_only(
    context: RunContext, generation: Generation, picture: Picture, voice: SceneVoice
) -> Generation:
    seen = await see_picture(context, generation, picture, voice)
    try:
        return await place_picture(context, generation, seen, voice, mark_stored)
    except StorageError as error:
        address = external_address(seen.fetched.url, error)
        await voice.progress("storing", f"{error.message} Its provider's address stands in.")
        return await _keep_external(context, generation, address, seen)


async def _keep_external(
    context: RunContext, generation: Generation, address: str, seen: SeenPicture
) -> Generation:
    provider = context.services.provider(generation.provider)
    async with context.services.pool.connection() as conn:
        return await mark_external(
            conn,
            generation,
            url=address,
            lifetime_seconds=provider.capabilities.url_lifetime_seconds,
            image=seen.facts,
            thumbnail=seen.image.thumbnail,
        )


def _rejection(generation: Generation, image: Mapping[str, Any]) -> str | None:
    if image.get("is_flagged"):
        return f"{generation.provider}'s safety check objects to the picture."
    if image.get("is_blank"):
        return "The picture is a single colour."
    return None


async def _keep_error(context: RunContext, generation: Generation, error: SceneError) -> None:
    """A picture that cannot be had again ends the generation; anything else is taken up later."""
    async with context.services.pool.connection() as conn:
        if is_lost(error):
            # A picture that was taken over cost nothing: the next run makes one.
            charge: ChargeVerdict = "not_charged" if generation.reused_image_id else "charged"
            await results.mark_failed(conn, generation, error, charge)
        else:
            await results.note_error(conn, generation, error)
