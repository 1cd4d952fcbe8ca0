"""Checks scenes' frames: reads what is recorded, looks at pictures, asks addresses, keeps verdicts.

Belongs here: getting the facts together, for many scenes at once. Does not belong here: what they
mean (`verdicts`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database.checked_frames import (
    PictureRecord,
    RefusedPicture,
    SceneStanding,
    picture_records,
    refused_pictures,
    standings,
)
from scene_pipeline.database.frame_checks import VerdictRow, save_verdicts
from scene_pipeline.database.projects import get_project
from scene_pipeline.media.perceptual import Likeness, likeness
from scene_pipeline.pipeline.checking.addresses import AddressReader, is_askable
from scene_pipeline.pipeline.checking.verdicts import (
    UNDECODABLE,
    address_verdict,
    duplicate_verdict,
    external_verdict,
    picture_verdicts,
    standing_verdicts,
)
from scene_pipeline.pipeline.checks import CHECKS, CheckedAsset, CheckVerdict
from scene_pipeline.pipeline.orders import SceneChecked, SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.together import Together

_SHOWN_ORDER = {check.name: place for place, check in enumerate(CHECKS)}
_Place = tuple[UUID, str]
"""A project and a scene of it."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the database knows of a scene's frame."""

    standing: SceneStanding | None
    record: PictureRecord | None
    refused: RefusedPicture | None


class FrameChecker:
    """Checks frames for one run; closed at its end.

    Args:
        services: Of this process.
        downloads: Bounds questions to addresses, together with downloads.
    """

    def __init__(self, services: Services, downloads: asyncio.Semaphore) -> None:
        self._services = services
        self._downloads = downloads
        self._addresses: AddressReader | None = None
        self._reading: Together[_Place, _Facts] = Together(self._read)
        self._keeping: Together[list[VerdictRow], None] = Together(self._keep)

    def close(self) -> None:
        """Release connections."""
        if self._addresses is not None:
            self._addresses.close()

    async def check(
        self, project_id: UUID, ref: SceneRef, assets: Collection[CheckedAsset]
    ) -> tuple[CheckVerdict, ...]:
        """Judge a scene's frame as it stands, and keep the verdicts.

        Args:
            project_id: The scene's project.
            ref: The scene.
            assets: What is to be checked: the picture, what the document says of it, or both.

        Returns:
            Verdicts in the order of `CHECKS`; of checks that came to none there is nothing.
        """
        facts = await self._reading.ask((project_id, ref.scene_id))
        verdicts: list[CheckVerdict] = []
        if "scene_image" in assets:
            verdicts += picture_verdicts(ref, facts.record, facts.refused)
            if facts.record is not None:
                verdicts += await self._look(ref, facts.record)
        if "scene_start_frame" in assets and facts.standing is not None:
            verdicts += standing_verdicts(facts.standing)
        if verdicts:
            await self._keeping.ask([verdict_row(project_id, ref, verdict) for verdict in verdicts])
        return tuple(sorted(verdicts, key=lambda verdict: _SHOWN_ORDER[verdict.name]))

    async def _look(self, ref: SceneRef, record: PictureRecord) -> list[CheckVerdict]:
        alike = duplicate_verdict(ref, record, await self._likeness(record))
        address = await self._ask(ref, record)
        return [verdict for verdict in (alike, address) if verdict is not None]

    async def _likeness(self, record: PictureRecord) -> Likeness | None:
        this, before = record.thumbnail, record.previous_thumbnail
        if this is None or before is None:
            return None
        return await self._services.call(likeness, this, before)

    async def _ask(self, ref: SceneRef, record: PictureRecord) -> CheckVerdict | None:
        if record.storage_status == "external":
            return external_verdict(ref, record)
        if not self._services.settings.check_urls:
            return None
        if record.sha256 is None or record.size_bytes is None or not is_askable(record.url):
            return None
        if self._addresses is None:
            self._addresses = AddressReader(self._services, self._downloads)
        answer = await self._addresses.ask(record.url, record.sha256, record.size_bytes)
        return address_verdict(ref, record.version, answer)

    async def _read(self, places: Sequence[_Place]) -> list[_Facts]:
        scenes_of: defaultdict[UUID, list[str]] = defaultdict(list)
        for project_id, scene_id in places:
            scenes_of[project_id].append(scene_id)
        found: dict[_Place, tuple[SceneStanding | None, PictureRecord | None]] = {}
        refused: dict[_Place, RefusedPicture] = {}
        async with self._services.pool.connection() as conn:
            for project_id, scene_ids in scenes_of.items():
                records = {
                    row.scene_id: row for row in await picture_records(conn, project_id, scene_ids)
                }
                stands = {row.scene_id: row for row in await standings(conn, project_id, scene_ids)}
                for scene_id in scene_ids:
                    found[project_id, scene_id] = (stands.get(scene_id), records.get(scene_id))
                for row in await refused_pictures(conn, project_id, scene_ids, UNDECODABLE):
                    refused[project_id, row.scene_id] = row
        return [_Facts(*found[place], refused.get(place)) for place in places]

    async def _keep(self, groups: Sequence[list[VerdictRow]]) -> list[None]:
        async with self._services.pool.connection() as conn:
            await save_verdicts(conn, [row for rows in groups for row in rows])
        return [None] * len(groups)


async def check_scenes(
    services: Services, refs: Sequence[SceneRef], assets: Collection[CheckedAsset]
) -> list[SceneChecked]:
    """Judge scenes as they stand, without doing anything else, and keep the verdicts.

    Args:
        services: Of this process.
        refs: Scenes of any projects.
        assets: What is to be checked of them.

    Raises:
        NotFoundError: There is no such project.
    """
    bound = asyncio.Semaphore(services.settings.download_concurrency)
    async with services.pool.connection() as conn:
        project_ids = {
            key: (await get_project(conn, key)).id
            for key in dict.fromkeys(ref.project_key for ref in refs)
        }
    checker = FrameChecker(services, asyncio.Semaphore(services.settings.download_concurrency))

    async def check(ref: SceneRef) -> SceneChecked:
        async with bound:
            verdicts = await checker.check(project_ids[ref.project_key], ref, assets)
        return SceneChecked(ref, verdicts)

    with closing(checker):
        return await asyncio.gather(*(check(ref) for ref in refs))


def verdict_row(project_id: UUID, ref: SceneRef, verdict: CheckVerdict) -> VerdictRow:
    """A verdict as the database keeps it."""
    return VerdictRow(
        project_id=project_id,
        scene_id=ref.scene_id,
        name=verdict.name,
        version=verdict.version,
        passed=verdict.passed,
        severity=verdict.severity,
        words=verdict.words,
    )
