"""From a persisted result to a recorded version: fetch, check, store, record.

Every step can be done again: the key depends only on the generation and the bytes, an intent row
precedes the upload, and recording is keyed by the generation. While the object store is down, the
version is recorded with the provider's own address, and healed later.
"""

from typing import Any

from scene_pipeline.database import ledger, versions
from scene_pipeline.database.healing import mark_external
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import FetchError, ImageError, LedgerError, SceneError, StorageError
from scene_pipeline.media.images import InspectedImage
from scene_pipeline.pipeline.external import external_address
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.frame_keys import OBJECT_COLLECTED, intend_frame
from scene_pipeline.pipeline.retrieve import (
    FetchedPicture,
    Picture,
    fetch_picture,
    inspect_picture,
    picture_of,
)
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.uploads import upload

DOWNLOAD_ATTEMPTS = 5
PLACE_ATTEMPTS = 5
"""How many keys are tried for one picture where the collector takes each for a leftover."""


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
            return await _record(context, generation)
        except LedgerError as error:
            if error.error_code != OBJECT_COLLECTED or attempt == PLACE_ATTEMPTS:
                raise
            async with context.services.pool.connection() as conn:
                generation = await ledger.store_again(conn, generation)
    return generation


async def _record(context: RunContext, generation: Generation) -> Generation:
    if generation.storage_status == "external":
        url = generation.external_url or ""
    else:
        url = context.services.store.url(generation.storage_key or "")
    async with context.services.pool.connection() as conn:
        recorded = await versions.record_version(
            conn,
            generation,
            url=url,
            rejection=_rejection(generation),
        )
    failpoint("after_recorded")
    return recorded


async def _store(context: RunContext, generation: Generation, voice: SceneVoice) -> Generation:
    services = context.services
    picture = picture_of(generation)
    image, fetched = await with_retries(
        lambda: _fetch_and_inspect(context, generation, picture, voice),
        attempts=DOWNLOAD_ATTEMPTS,
        sleep=services.sleep,
    )
    facts = _image_facts(image, picture, fetched.source_url)
    for attempt in range(1, PLACE_ATTEMPTS + 1):
        try:
            key = await _upload(context, generation, image, voice)
        except StorageError as error:
            address = external_address(fetched.url, error)
            await voice.progress("storing", f"{error.message} Its provider's address stands in.")
            stored = await _keep_external(context, generation, address, facts, image.thumbnail)
            break
        try:
            async with services.pool.connection() as conn:
                stored = await ledger.mark_stored(
                    conn,
                    generation,
                    storage_key=key,
                    image=facts,
                    thumbnail=image.thumbnail,
                )
        except LedgerError as error:
            if error.error_code != OBJECT_COLLECTED or attempt == PLACE_ATTEMPTS:
                raise
        else:
            break
    failpoint("after_stored")
    return stored


async def _keep_external(
    context: RunContext,
    generation: Generation,
    address: str,
    facts: dict[str, Any],
    thumbnail: bytes | None,
) -> Generation:
    provider = context.services.provider(generation.provider)
    async with context.services.pool.connection() as conn:
        return await mark_external(
            conn,
            generation,
            url=address,
            lifetime_seconds=provider.capabilities.url_lifetime_seconds,
            image=facts,
            thumbnail=thumbnail,
        )


def _image_facts(image: InspectedImage, picture: Picture, source_url: str | None) -> dict[str, Any]:
    return {
        "size_bytes": len(image.data),
        "content_type": image.content_type,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "source_url": source_url,
        "is_blank": image.is_blank,
        "is_flagged": picture.is_flagged,
        "notes": list(image.notes),
    }


async def _upload(
    context: RunContext, generation: Generation, image: InspectedImage, voice: SceneVoice
) -> str:
    services = context.services
    async with services.pool.connection() as conn:
        key = await intend_frame(conn, generation, image)
    failpoint("after_intent")
    await voice.progress("storing", f"storing {len(image.data):,} bytes")
    await upload(services, key, image, context.uploads)
    failpoint("after_upload")
    return key


async def _fetch_and_inspect(
    context: RunContext, generation: Generation, picture: Picture, voice: SceneVoice
) -> tuple[InspectedImage, FetchedPicture]:
    async with context.downloads:
        fetched = await fetch_picture(
            context.services,
            generation,
            picture,
            lambda words: voice.progress("downloading", words),
        )
    failpoint("after_download")
    async with context.decodes:
        image = await inspect_picture(context.services, generation, fetched.data)
    failpoint("after_inspect")
    return image, fetched


def _rejection(generation: Generation) -> str | None:
    image = generation.image or {}
    if image.get("is_flagged"):
        return f"{generation.provider}'s safety check objects to the picture."
    if image.get("is_blank"):
        return "The picture is a single colour."
    return None


async def _keep_error(context: RunContext, generation: Generation, error: SceneError) -> None:
    """A picture that cannot be had again ends the generation; anything else is taken up later."""
    is_lost = error.error_code in ("result_lost", "no_picture") or (
        isinstance(error, ImageError | FetchError) and not error.retryable
    )
    async with context.services.pool.connection() as conn:
        if is_lost:
            await ledger.mark_failed(conn, generation, error, "charged")
        else:
            await ledger.note_error(conn, generation, error)
