"""From a persisted result to a recorded version: fetch, check, store, record.

Every step can be done again: the key depends only on the generation and the bytes, an intent row
precedes the upload, and recording is keyed by the generation.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from scene_pipeline.database import ledger, objects, versions
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import FetchError, ImageError, ProviderError, SceneError
from scene_pipeline.media.images import InspectedImage
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.generate import submission_of
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.run_context import RunContext, SceneVoice, image_request
from scene_pipeline.scenes.identity import frame_storage_key

DOWNLOAD_ATTEMPTS = 5
UPLOAD_ATTEMPTS = 4
_LOST_LINKS = frozenset({"link_expired"})


@dataclass(frozen=True, slots=True)
class _Picture:
    """The one image of a result that becomes the frame."""

    index: int
    url: str | None
    is_flagged: bool


async def rehost(context: RunContext, generation: Generation, voice: SceneVoice) -> Generation:
    """Bring a completed generation to `recorded` (or to `failed`, `superseded` with a version).

    The caller holds the generation's lock.

    Raises:
        SceneError: A step failed; the row stays where it is and the next run goes on from there,
            unless the picture is lost for good.
    """
    try:
        if generation.state == "completed":
            generation = await _store(context, generation, voice)
    except SceneError as error:
        await _keep_error(context, generation, error)
        raise
    if generation.state == "stored":
        key = generation.storage_key or ""
        async with context.services.pool.connection() as conn:
            generation = await versions.record_version(
                conn,
                generation,
                url=context.services.store.url(key),
                rejection=_rejection(generation),
            )
        failpoint("after_recorded")
    return generation


async def _store(context: RunContext, generation: Generation, voice: SceneVoice) -> Generation:
    services = context.services
    picture = _picture(generation)
    image, source_url = await with_retries(
        lambda: _fetch_and_inspect(context, generation, picture, voice),
        attempts=DOWNLOAD_ATTEMPTS,
        sleep=services.sleep,
    )
    key = frame_storage_key(
        generation.project_id,
        generation.scene_id,
        generation.created_at,
        image.sha256,
        image.extension,
    )
    async with services.pool.connection() as conn:
        await objects.register_intent(
            conn,
            key,
            sha256=image.sha256,
            size_bytes=len(image.data),
            content_type=image.content_type,
        )
    failpoint("after_intent")
    await voice.progress("storing", f"storing {len(image.data):,} bytes")
    async with context.uploads:
        await with_retries(
            lambda: services.call(
                services.store.put,
                key,
                image.data,
                content_type=image.content_type,
                sha256=image.sha256,
            ),
            attempts=UPLOAD_ATTEMPTS,
            sleep=services.sleep,
        )
    failpoint("after_upload")
    async with services.pool.connection() as conn:
        stored = await ledger.mark_stored(
            conn,
            generation,
            storage_key=key,
            image={
                "size_bytes": len(image.data),
                "content_type": image.content_type,
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "source_url": source_url,
                "is_blank": image.is_blank,
                "is_flagged": picture.is_flagged,
                "notes": list(image.notes),
            },
            thumbnail=image.thumbnail,
        )
    failpoint("after_stored")
    return stored


def _picture(generation: Generation) -> _Picture:
    images: list[dict[str, Any]] = (generation.result or {}).get("images") or []
    if not images:
        message = f"The provider's result for scene {generation.scene_id} holds no picture."
        raise ImageError(message, code="no_picture")
    first = images[0]
    return _Picture(index=0, url=first.get("url"), is_flagged=bool(first.get("is_flagged")))


async def _fetch_and_inspect(
    context: RunContext, generation: Generation, picture: _Picture, voice: SceneVoice
) -> tuple[InspectedImage, str | None]:
    services = context.services
    async with context.downloads:
        data, source_url = await _read(context, generation, picture, voice)
    failpoint("after_download")
    async with context.decodes:
        image = await services.call(
            services.workers.inspect,
            data,
            metadata=_embedded_metadata(generation),
            embed=services.settings.embed_metadata,
        )
    failpoint("after_inspect")
    return image, source_url


async def _read(
    context: RunContext, generation: Generation, picture: _Picture, voice: SceneVoice
) -> tuple[bytes, str | None]:
    services = context.services
    if picture.url is None:
        provider = services.provider(generation.provider)
        request = image_request(generation)
        return await services.call(provider.read_image, request, picture.index), None
    await voice.progress("downloading", "downloading the picture")
    try:
        fetched = await services.call(services.fetcher.fetch, picture.url)
    except FetchError as error:
        if error.error_code not in _LOST_LINKS:
            raise
        fresh = await _fresh_url(context, generation, picture)
        if fresh is None or fresh == picture.url:
            raise _lost(generation) from error
        fetched = await services.call(services.fetcher.fetch, fresh)
    return fetched.data, fetched.final_url_redacted


async def _fresh_url(context: RunContext, generation: Generation, picture: _Picture) -> str | None:
    """Read the result once more: the provider may give a new address for the same picture."""
    services = context.services
    provider = services.provider(generation.provider)
    try:
        result = await services.call(
            provider.fetch_result, image_request(generation), submission_of(generation)
        )
    except ProviderError:
        return None
    return result.images[picture.index].url if len(result.images) > picture.index else None


def _lost(generation: Generation) -> FetchError:
    message = (
        f"The picture of scene {generation.scene_id} was paid for, but the provider no longer has"
        " it."
    )
    return FetchError(
        message,
        code="result_lost",
        next_action=f"Ask for another one: --regenerate --scene {generation.scene_id}.",
    )


def _embedded_metadata(generation: Generation) -> dict[str, str]:
    return {
        "prompt": generation.prompt,
        "model": generation.endpoint,
        "provider": generation.provider,
        "seed": str(generation.seed),
        "generation_id": str(generation.id),
        "project_id": _text(generation.project_id),
        "scene_id": generation.scene_id,
    }


def _text(identifier: UUID) -> str:
    return str(identifier)


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
