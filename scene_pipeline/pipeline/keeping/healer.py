"""Brings one picture home that could not be stored when it was made, and corrects the document.

Belongs here: the healing of one version, under its generation's lock. Does not belong here: which
versions, in which order (`pipeline.upkeep.heal`).

A version keeps its number and its bytes: what is downloaded again must be what was seen first.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from scene_pipeline.database import heal_times, healing
from scene_pipeline.database.generations import get_generation
from scene_pipeline.database.healing import ExternalVersion
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.publishing import PublicationResult
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import LedgerError, SceneError, StorageError
from scene_pipeline.media.images import InspectedImage
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.external import NO_OUTAGE
from scene_pipeline.pipeline.keeping.frame_keys import OBJECT_COLLECTED, intend_frame
from scene_pipeline.pipeline.keeping.retrieve import Picture, find_again
from scene_pipeline.pipeline.keeping.uploads import upload
from scene_pipeline.pipeline.orders import Failure, SceneRef
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services

DOWNLOAD_ATTEMPTS = 3
PLACE_ATTEMPTS = 3
"""How many keys are tried for one picture where the collector takes each for a leftover."""
MAX_STORE_FAILURES = 3
"""After so many refusals by the store in one go the rest is left for the next time."""

HealStatus = Literal["healed", "already", "busy", "external", "lost"]
"""healed: it is in our store now. already: it was, another worker was faster. busy: another worker
is at it. external: it is still at the provider, and can be tried again. lost: the provider no
longer has it, or has other bytes."""


@dataclass(frozen=True, slots=True)
class HealedVersion:
    """How it went with one version."""

    generation_id: UUID
    scene: SceneRef
    version: int
    is_current: bool
    status: HealStatus
    url: str
    """What the version's row holds now."""
    expires_at: datetime | None = None
    """Until when the provider's address works at least, where it is still needed and known."""
    document: PublicationResult | None = None
    """How it went with the document, for a healed version."""
    failure: Failure | None = None
    was_lost: bool = False
    """Whether it was known before that the provider no longer has it."""


@dataclass
class Healer:
    """What healing one version takes; shared by all that are healed at once."""

    services: Services
    locks: GenerationLocks
    downloads: asyncio.Semaphore
    decodes: asyncio.Semaphore
    uploads: asyncio.Semaphore
    store_failures: list[Failure] = field(default_factory=list)
    """How the store refused; after `MAX_STORE_FAILURES` it is not asked any more."""

    @property
    def given_up(self) -> Failure | None:
        """Why the store is not asked any more; None while it is."""
        too_many = len(self.store_failures) >= MAX_STORE_FAILURES
        return self.store_failures[-1] if too_many else None

    async def heal(self, generation_id: UUID) -> HealedVersion | None:
        """Heal the version that a generation made; None where there is nothing to heal.

        Raises:
            psycopg.Error: The database failed; what was not recorded is done again next time.
        """
        pool = self.services.pool
        async with pool.connection() as conn:
            version = await healing.external_version(conn, generation_id)
        if version is None:
            return None
        if self.given_up is not None:
            return told(version, "external", failure=self.given_up)
        if not await self.locks.try_acquire(generation_id):
            async with pool.connection() as conn:
                await heal_times.postpone_busy(conn, generation_id)
            return told(version, "busy")
        try:
            async with pool.connection() as conn:
                now = await healing.external_version(conn, generation_id)
                generation = await get_generation(conn, generation_id)
            if now is None:
                return told(version, "already", url=self._url(generation))
            try:
                return await self._bring_home(now, generation)
            except SceneError as error:
                async with pool.connection() as conn:
                    await heal_times.note_heal_failure(
                        conn,
                        generation_id,
                        error,
                        attempts=now.heal_attempts,
                        expires_at=now.expires_at,
                    )
                if isinstance(error, StorageError) and error.error_code not in NO_OUTAGE:
                    self.store_failures.append(failure_of(error))
                is_lost = error.error_code in heal_times.LOST_CODES
                ref = SceneRef(now.project_key, now.scene_id)
                status: HealStatus = "lost" if is_lost else "external"
                return told(now, status, failure=failure_of(error, ref))
        finally:
            # Shielded: a cancelled run must not leave its lock on a connection that lives on.
            await asyncio.shield(self.locks.release(generation_id))

    async def _bring_home(self, version: ExternalVersion, generation: Generation) -> HealedVersion:
        failpoint("heal_before_download")
        image = await with_retries(
            lambda: self._see_again(version, generation),
            attempts=DOWNLOAD_ATTEMPTS,
            sleep=self.services.sleep,
        )
        for attempt in range(1, PLACE_ATTEMPTS + 1):
            key = await self._upload(generation, image)
            url = self.services.store.url(key)
            failpoint("heal_before_record")
            try:
                async with self.services.pool.connection() as conn:
                    document = await healing.record_healed(conn, version, key=key, url=url)
            except LedgerError as error:
                if error.error_code != OBJECT_COLLECTED or attempt == PLACE_ATTEMPTS:
                    raise
            else:
                break
        failpoint("heal_after_record")
        if document is None:
            async with self.services.pool.connection() as conn:
                generation = await get_generation(conn, generation.id)
            return told(version, "already", url=self._url(generation))
        return told(version, "healed", url=url, document=document)

    async def _see_again(self, version: ExternalVersion, generation: Generation) -> InspectedImage:
        picture = Picture(index=0, url=version.storage_url, is_flagged=False)
        image = await find_again(
            self.services,
            generation,
            picture,
            version.sha256,
            downloads=self.downloads,
            decodes=self.decodes,
        )
        failpoint("heal_after_inspect")
        return image

    async def _upload(self, generation: Generation, image: InspectedImage) -> str:
        services = self.services
        async with services.pool.connection() as conn:
            key = await intend_frame(conn, generation, image)
        failpoint("heal_before_upload")
        await upload(services, key, image, self.uploads)
        failpoint("heal_after_upload")
        return key

    def _url(self, generation: Generation) -> str:
        return self.services.store.url(generation.storage_key or "")


def told(
    version: ExternalVersion,
    status: HealStatus,
    *,
    url: str | None = None,
    document: PublicationResult | None = None,
    failure: Failure | None = None,
) -> HealedVersion:
    """How it went with a version, in the words of its row."""
    is_home = status in ("healed", "already")
    return HealedVersion(
        generation_id=version.generation_id,
        scene=SceneRef(version.project_key, version.scene_id),
        version=version.version,
        is_current=version.is_current,
        status=status,
        url=url or version.storage_url,
        expires_at=None if is_home else version.expires_at,
        document=document,
        failure=failure,
        was_lost=version.heal_error_code in heal_times.LOST_CODES,
    )
