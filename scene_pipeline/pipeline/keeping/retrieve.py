"""Gets the picture of a completed generation, and looks at it: again and again where need be.

Belongs here: where a picture can be had from, and checking it. Does not belong here: keeping it
(`pipeline.making.rehost`, `pipeline.upkeep.heal`), bounds and retries, which are the caller's.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from scene_pipeline.database.projects import project_key
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import ANOTHER, FetchError, ImageError, ProviderError
from scene_pipeline.media.images import InspectedImage
from scene_pipeline.media.metadata import CURRENT_EDITION
from scene_pipeline.media.xmp_packet import Edition
from scene_pipeline.pipeline.keeping.downloading import Tell, download, received_words
from scene_pipeline.pipeline.keeping.provider_request import (
    complete_request,
    image_request,
    submission_of,
)
from scene_pipeline.pipeline.services import Services

BYTES_CHANGED: Final = "bytes_changed"
_LOST_LINKS = frozenset({"link_expired"})
_LAYOUTS: tuple[Edition | None, ...] = (CURRENT_EDITION, None, 1)


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a result."""

    index: int
    """Its place in the result, from 0."""
    url: str | None
    """The provider's address; None where the provider gives bytes."""
    is_flagged: bool


@dataclass(frozen=True, slots=True)
class FetchedPicture:
    """A picture's bytes as they arrived, not yet looked at."""

    data: bytes = field(repr=False)
    url: str | None = field(repr=False)
    """The provider's address that worked. May hold a signed query: not for messages or rows."""
    source_url: str | None
    """Where the bytes came from in the end, without query."""


def pictures_of(generation: Generation) -> tuple[Picture, ...]:
    """The pictures that a generation's result names: at least one, at most as many as asked for.

    Raises:
        ImageError: code "no_picture".
    """
    images: list[dict[str, Any]] = (generation.result or {}).get("images") or []
    if not images:
        message = f"The provider's result for scene {generation.scene_id} holds no picture."
        raise ImageError(message, code="no_picture")
    return tuple(
        Picture(index=index, url=image.get("url"), is_flagged=bool(image.get("is_flagged")))
        for index, image in enumerate(images[: generation.image_count])
    )


def picture_of(generation: Generation, image_index: int) -> Picture:
    """One of the pictures that a generation's result names.

    Raises:
        ImageError: code "no_picture".
    """
    for picture in pictures_of(generation):
        if picture.index == image_index:
            return picture
    message = f"The result for scene {generation.scene_id} holds no picture {image_index + 1}."
    raise ImageError(message, code="no_picture")


async def fetch_picture(
    services: Services, generation: Generation, picture: Picture, tell: Tell
) -> FetchedPicture:
    """Get a picture's bytes, with one question to the provider where its address has expired.

    Raises:
        FetchError: code "result_lost" where the provider no longer has it; else why not.
        ProviderError: The provider could not give the bytes.
    """
    if picture.url is None:
        provider = services.provider(generation.provider)
        request = await complete_request(services, generation)
        data = await services.call(provider.read_image, request, picture.index)
        await tell(received_words(len(data)))
        return FetchedPicture(data, None, None)
    await tell("downloading the picture")
    url = picture.url
    try:
        fetched = await download(services, url, tell)
    except FetchError as error:
        if error.error_code not in _LOST_LINKS:
            raise
        fresh = await _fresh_url(services, generation, picture)
        if fresh is None or fresh == url:
            raise _lost(generation) from error
        url = fresh
        fetched = await download(services, url, tell)
    return FetchedPicture(fetched.data, url, fetched.final_url_redacted)


async def inspect_picture(
    services: Services,
    generation: Generation,
    picture: Picture,
    data: bytes,
    *,
    embed: Edition | None,
    project: str | None = None,
) -> InspectedImage:
    """Check a picture completely and put the generation's facts into it.

    Args:
        services: Of this process.
        generation: Whose picture it is.
        picture: Which of its pictures.
        data: As it arrived.
        embed: How the facts are laid out in it; None for a picture without any.
        project: The project's key, which is asked for where it is not given.

    Raises:
        ImageError: It is not a picture that we accept.
    """
    if embed is None:
        return await services.call(services.workers.inspect, data)
    facts = _embedded_metadata(generation, picture)
    if embed != 1 and project is None:
        async with services.pool.connection() as conn:
            project = await project_key(conn, generation.project_id)
    if embed != 1 and project is not None:
        facts["project"] = project
    return await services.call(
        services.workers.inspect, data, metadata=facts, embed=True, edition=embed
    )


def edition_of_today(services: Services) -> Edition | None:
    """How a new frame is to be laid out: as the settings say."""
    return CURRENT_EDITION if services.settings.embed_metadata else None


async def find_again(
    services: Services,
    generation: Generation,
    picture: Picture,
    sha256: str,
    *,
    downloads: asyncio.Semaphore,
    decodes: asyncio.Semaphore,
) -> InspectedImage:
    """Get the very picture that was seen before, where it can still be had.

    Args:
        services: Of this process.
        generation: Whose picture it is.
        picture: Where it was.
        sha256: Of the bytes that were, or would have been, stored.
        downloads: Bounds fetching.
        decodes: Bounds looking at pictures.

    Raises:
        ImageError: code "bytes_changed": it is another picture now, and the first one counts.
        FetchError: As `fetch_picture`.
    """
    async with downloads:
        fetched = await fetch_picture(services, generation, picture, _say_nothing)
    # The facts may have been embedded, or not, under another setting or version than today's.
    for embed in sorted(_LAYOUTS, key=lambda layout: layout != edition_of_today(services)):
        async with decodes:
            image = await inspect_picture(services, generation, picture, fetched.data, embed=embed)
        if image.sha256 == sha256:
            return image
    message = f"{generation.provider} gives other bytes for scene {generation.scene_id} than first."
    raise ImageError(
        message,
        code=BYTES_CHANGED,
        next_action=f"Ask for another picture with {ANOTHER}.",
    )


async def _say_nothing(_words: str) -> None:
    """Nobody watches."""


async def _fresh_url(services: Services, generation: Generation, picture: Picture) -> str | None:
    """Read the result once more: the provider may give a new address for the same picture."""
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
        next_action=f"Ask for another one with {ANOTHER}.",
    )


def _embedded_metadata(generation: Generation, picture: Picture) -> dict[str, str]:
    candidate = {"candidate": str(picture.index + 1)} if picture.index else {}
    return {
        **candidate,
        "prompt": generation.prompt,
        "model": generation.endpoint,
        "provider": generation.provider,
        "seed": str(generation.seed),
        "generation_id": str(generation.id),
        "project_id": str(generation.project_id),
        "scene_id": generation.scene_id,
    }
