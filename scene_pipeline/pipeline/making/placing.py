"""One picture of a result on its way into the store: fetched, checked, uploaded, kept.

Belongs here: the steps that a first picture and a further candidate share. Does not belong here:
what is done where a step fails (`pipeline.making.rehost`, `pipeline.making.candidates`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from scene_pipeline.database import results
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import FetchError, ImageError, LedgerError, SceneError
from scene_pipeline.media.images import InspectedImage
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.frame_keys import OBJECT_COLLECTED, intend_frame
from scene_pipeline.pipeline.keeping.retrieve import (
    FetchedPicture,
    Picture,
    edition_of_today,
    fetch_picture,
    inspect_picture,
)
from scene_pipeline.pipeline.keeping.uploads import upload
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.telemetry.stages import stage

DOWNLOAD_ATTEMPTS = 5
PLACE_ATTEMPTS = 5
"""How many keys are tried for one picture where the collector takes each for a leftover."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A picture that was fetched and accepted."""

    picture: Picture
    image: InspectedImage
    fetched: FetchedPicture

    @property
    def facts(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        return {
            "image_index": self.picture.index,
            "size_bytes": len(self.image.data),
            "content_type": self.image.content_type,
            "width": self.image.width,
            "height": self.image.height,
            "sha256": self.image.sha256,
            "source_url": self.fetched.source_url,
            "is_blank": self.image.is_blank,
            "is_flagged": self.picture.is_flagged,
            "notes": list(self.image.notes),
        }


async def see_picture(
    context: RunContext, generation: Generation, picture: Picture, voice: SceneVoice
) -> SeenPicture:
    """Get a picture and check it, tried again while that may help.

    Raises:
        SceneError: It cannot be had now, or not at all (`is_lost`).
    """
    return await with_retries(
        lambda: _fetch_and_inspect(context, generation, picture, voice),
        attempts=DOWNLOAD_ATTEMPTS,
        sleep=context.services.sleep,
    )


async def _fetch_and_inspect(
    context: RunContext, generation: Generation, picture: Picture, voice: SceneVoice
) -> SeenPicture:
    async with context.downloads:
        with stage("download", provider=generation.provider) as told:
            fetched = await fetch_picture(
                context.services,
                generation,
                picture,
                lambda words: voice.progress("downloading", words),
            )
            told.note(bytes=len(fetched.data))
    failpoint("after_download")
    async with context.decodes:
        with stage("inspect"):
            image = await inspect_picture(
                context.services,
                generation,
                picture,
                fetched.data,
                embed=edition_of_today(context.services),
                project=voice.ref.project_key,
            )
    failpoint("after_inspect")
    return SeenPicture(picture, image, fetched)


async def place_picture(
    context: RunContext,
    generation: Generation,
    seen: SeenPicture,
    voice: SceneVoice,
    keep: Callable[[Connection, Generation, str, SeenPicture], Awaitable[T]],
) -> T:
    """Upload a picture under a key that the collector leaves alone, and keep that in the ledger.

    Raises:
        StorageError: The store refused it, or as often as it is asked.
        LedgerError: Another worker moved the generation.
    """
    for attempt in range(1, PLACE_ATTEMPTS + 1):
        key = await _upload(context, generation, seen, voice)
        try:
            async with context.services.pool.connection() as conn:
                return await keep(conn, generation, key, seen)
        except LedgerError as error:
            if error.error_code != OBJECT_COLLECTED or attempt == PLACE_ATTEMPTS:
                raise
    raise AssertionError("PLACE_ATTEMPTS must be at least 1")


async def mark_stored(
    conn: Connection, generation: Generation, key: str, seen: SeenPicture
) -> Generation:
    """Keep the first picture: `completed -> stored`."""
    return await results.mark_stored(
        conn,
        generation,
        storage_key=key,
        image=seen.facts,
        thumbnail=seen.image.thumbnail,
    )


async def _upload(
    context: RunContext, generation: Generation, seen: SeenPicture, voice: SceneVoice
) -> str:
    services, image, index = context.services, seen.image, seen.picture.index
    async with services.pool.connection() as conn:
        key = await intend_frame(conn, generation, image, index)
    failpoint("candidate_before_upload" if index else "after_intent")
    await voice.progress("storing", f"storing {len(image.data):,} bytes")
    await upload(services, key, image, context.uploads)
    failpoint("candidate_before_keep" if index else "after_upload")
    return key


def is_lost(error: SceneError) -> bool:
    """Whether a picture cannot be had, however often it is asked for."""
    return error.error_code in ("result_lost", "no_picture") or (
        isinstance(error, ImageError | FetchError) and not error.retryable
    )
