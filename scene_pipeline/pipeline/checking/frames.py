"""Checks scenes' frames: reads what is recorded, looks at pictures, asks addresses, keeps verdicts.

Belongs here: getting the facts together, for many scenes at once. Does not belong here: what they
mean (`verdicts`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from scene_pipeline.database.checked_frames import (
    PictureRecord,
    RefusedPicture,
    SceneStanding,
    picture_records,
    refused_pictures,
    standings,
)
from scene_pipeline.database.frame_checks import (
    VerdictRow,
    save_verdicts,
    timely_verdicts,
    verdicts_of_scenes,
)
from scene_pipeline.database.projects import get_project
from scene_pipeline.media.perceptual import Likeness, likeness
from scene_pipeline.pipeline.checking.addresses import AddressReader, is_askable
from scene_pipeline.pipeline.checking.verdicts import (
    UNDECODABLE,
    address_verdict,
    duplicate_verdict,
    external_verdict,
    is_compared,
    picture_verdicts,
    standing_verdicts,
)
from scene_pipeline.pipeline.checks import CHECKS, CheckedAsset, CheckName, CheckVerdict
from scene_pipeline.pipeline.orders import SceneChecked, SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.together import Together, this_instant

_SHOWN_ORDER = {check.name: place for place, check in enumerate(CHECKS)}
_COMPARING: Final[CheckName] = "not_a_duplicate_of_the_previous_version"
_ASKING: Final[CheckName] = "url_serves_the_stored_bytes"
_COMPARED_TOGETHER = 16
"""Pairs of pictures that a thread compares before it gives way to others: some milliseconds."""
_Place = tuple[UUID, str]
"""A project and a scene of it."""
_Pair = tuple[bytes, bytes]
"""Two thumbnails."""
_Found = tuple[list[VerdictRow], list[VerdictRow]]
"""Verdicts on one scene that are news, and the others."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the database knows of a scene's frame."""

    standing: SceneStanding | None
    record: PictureRecord | None
    refused: RefusedPicture | None
    kept: Mapping[str, VerdictRow]
    """The verdicts that are kept of it, by check."""


class FrameChecker:
    """Checks frames for one run; closed at its end.

    Args:
        services: Of this process.
        asking: Bounds questions to addresses; not what bounds downloads, since a slow host must
            not hold up pictures that are paid for.
        run_id: Dagster's id of the run.
        company: What a scene waits for before the facts of all that wait are read.
    """

    def __init__(
        self,
        services: Services,
        asking: asyncio.Semaphore,
        run_id: str | None = None,
        *,
        company: Callable[[], Awaitable[None]] = this_instant,
    ) -> None:
        self._services = services
        self._run_id = run_id
        self._asking = asking
        self._addresses: AddressReader | None = None
        self._reading: Together[_Place, _Facts] = Together(self._read, company=company)
        self._comparing: Together[_Pair, Likeness | None] = Together(
            self._compare_pairs, _COMPARED_TOGETHER
        )
        self._keeping: Together[_Found, frozenset[VerdictRow]] = Together(self._keep)

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
            Verdicts in the order of `CHECKS`; of checks that came to none there is nothing, nor of
            what came late: on a version or an address that is not the current one any more.
        """
        facts = await self._reading.ask((project_id, ref.scene_id))
        verdicts: list[CheckVerdict] = []
        if "scene_image" in assets:
            verdicts += picture_verdicts(ref, facts.record, facts.refused)
            if facts.record is not None:
                verdicts += await self._look(ref, facts.record, facts.kept)
        if "scene_start_frame" in assets and facts.standing is not None:
            verdicts += standing_verdicts(facts.standing)
        asked = None if facts.record is None else facts.record.url
        rows = {verdict_row(project_id, ref, verdict, asked): verdict for verdict in verdicts}
        news = [row for row in rows if _is_news(row, facts.kept)]
        others = [row for row in rows if not _is_news(row, facts.kept)]
        timely = await self._keeping.ask((news, others)) if rows else frozenset()
        told = [verdict for row, verdict in rows.items() if row in timely]
        return tuple(sorted(told, key=lambda verdict: _SHOWN_ORDER[verdict.name]))

    async def _look(
        self, ref: SceneRef, record: PictureRecord, kept: Mapping[str, VerdictRow]
    ) -> list[CheckVerdict]:
        alike = await self._compare(ref, record, kept.get(_COMPARING))
        address = await self._ask(ref, record, kept.get(_ASKING))
        return [verdict for verdict in (alike, address) if verdict is not None]

    async def _compare(
        self, ref: SceneRef, record: PictureRecord, kept: VerdictRow | None
    ) -> CheckVerdict | None:
        if kept is not None and is_compared(record, kept.words):
            return _told_again(kept, _COMPARING)
        return duplicate_verdict(ref, record, await self._likeness(record))

    async def _likeness(self, record: PictureRecord) -> Likeness | None:
        this, before = record.thumbnail, record.previous_thumbnail
        if this is None or before is None:
            return None
        return await self._comparing.ask((this, before))

    async def _compare_pairs(self, pairs: Sequence[_Pair]) -> list[Likeness | None]:
        return await self._services.call(_likenesses, pairs)

    async def _ask(
        self, ref: SceneRef, record: PictureRecord, kept: VerdictRow | None
    ) -> CheckVerdict | None:
        if kept is not None and kept.passed and kept.version == record.version:
            return _told_again(kept, _ASKING)  # the truth sweep asks again, not every run
        if record.storage_status == "external":
            return external_verdict(ref, record)
        if not self._services.settings.check_urls:
            return None
        if record.sha256 is None or record.size_bytes is None or not is_askable(record.url):
            return None
        if self._addresses is None:
            self._addresses = AddressReader(self._services, self._asking)
        answer = await self._addresses.ask(record.url, record.sha256, record.size_bytes)
        return address_verdict(ref, record.version, answer)

    async def _read(self, places: Sequence[_Place]) -> list[_Facts]:
        scenes_of: defaultdict[UUID, list[str]] = defaultdict(list)
        for project_id, scene_id in places:
            scenes_of[project_id].append(scene_id)
        found: dict[_Place, tuple[SceneStanding | None, PictureRecord | None]] = {}
        refused: dict[_Place, RefusedPicture] = {}
        kept: defaultdict[_Place, dict[str, VerdictRow]] = defaultdict(dict)
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
                for verdict in await verdicts_of_scenes(conn, project_id, scene_ids):
                    kept[project_id, verdict.scene_id][verdict.name] = verdict
        return [_Facts(*found[place], refused.get(place), kept[place]) for place in places]

    async def _keep(self, groups: Sequence[_Found]) -> list[frozenset[VerdictRow]]:
        news = [row for rows, _ in groups for row in rows]
        others = [row for _, rows in groups for row in rows]
        async with self._services.pool.connection() as conn:
            timely = await save_verdicts(conn, news, run_id=self._run_id)
            timely |= await timely_verdicts(conn, others)
        return [timely] * len(groups)


def _likenesses(pairs: Sequence[_Pair]) -> list[Likeness | None]:
    return [likeness(this, before) for this, before in pairs]


def _told_again(kept: VerdictRow, name: CheckName) -> CheckVerdict:
    return CheckVerdict(name, kept.passed, kept.severity, kept.words, kept.version)


def _is_news(row: VerdictRow, kept: Mapping[str, VerdictRow]) -> bool:
    """Whether a verdict has to be kept; that an address was asked in vain counts each time."""
    return kept.get(row.name) != row or (row.name == _ASKING and not row.passed)


async def check_scenes(
    services: Services,
    refs: Sequence[SceneRef],
    assets: Collection[CheckedAsset],
    *,
    run_id: str | None = None,
) -> list[SceneChecked]:
    """Judge scenes as they stand, without doing anything else, and keep the verdicts.

    Args:
        services: Of this process.
        refs: Scenes of any projects.
        assets: What is to be checked of them.
        run_id: Dagster's id of the run.

    Raises:
        NotFoundError: There is no such project.
    """
    async with services.pool.connection() as conn:
        project_ids = {
            key: (await get_project(conn, key)).id
            for key in dict.fromkeys(ref.project_key for ref in refs)
        }
    asking = asyncio.Semaphore(services.settings.download_concurrency)
    checker = FrameChecker(services, asking, run_id)

    async def check(ref: SceneRef) -> SceneChecked:
        return SceneChecked(ref, await checker.check(project_ids[ref.project_key], ref, assets))

    with closing(checker):
        return await asyncio.gather(*(check(ref) for ref in refs))


def verdict_row(
    project_id: UUID, ref: SceneRef, verdict: CheckVerdict, asked: str | None = None
) -> VerdictRow:
    """A verdict as the database keeps it; `asked` is the frame's address, if one was."""
    return VerdictRow(
        project_id=project_id,
        scene_id=ref.scene_id,
        name=verdict.name,
        version=verdict.version,
        passed=verdict.passed,
        severity=verdict.severity,
        words=verdict.words,
        url=asked if verdict.name == _ASKING else None,
    )
