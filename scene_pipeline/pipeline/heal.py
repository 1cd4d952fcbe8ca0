"""Heals what is at the providers only, in the order in which it expires.

Belongs here: choosing, bounds, the report. Does not belong here: one version's healing
(`pipeline.healer`), recording a version as external (`pipeline.rehost`), other drift
(`pipeline.reconcile`), when to try again (whoever calls).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from scene_pipeline.database import healing
from scene_pipeline.database.healing import ExternalVersion
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.projects import get_project
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.facts import database_failure, failure_of
from scene_pipeline.pipeline.healer import HealedVersion, Healer, HealStatus, told
from scene_pipeline.pipeline.services import Services


@dataclass(frozen=True, slots=True)
class HealReport:
    """How it went with all of them, in the order in which they expire."""

    versions: tuple[HealedVersion, ...]
    remaining: int
    """Versions that are still at their providers only, also those that were not tried."""

    def count(self, status: HealStatus) -> int:
        """How many ended so."""
        return sum(version.status == status for version in self.versions)


async def heal(
    services: Services, *, project_key: str | None = None, limit: int = 100
) -> HealReport:
    """Heal what is at the providers only, what expires first first.

    Args:
        services: Of this process.
        project_key: Only this project's versions.
        limit: Most versions to try.

    Raises:
        NotFoundError: There is no such project.
    """
    async with services.pool.connection() as conn:
        if project_key is not None:
            await get_project(conn, project_key)
        due = await healing.external_versions(conn, project_key, limit)
    done = await _heal_all(services, due) if due else []
    async with services.pool.connection() as conn:
        remaining = await healing.count_external(conn, project_key)
    return HealReport(tuple(done), remaining)


async def _heal_all(services: Services, due: Sequence[ExternalVersion]) -> list[HealedVersion]:
    settings = services.settings
    results: dict[UUID, HealedVersion] = {}
    waiting = iter(due)
    async with GenerationLocks.connect(services.database_url) as locks:
        healer = Healer(
            services,
            locks,
            downloads=asyncio.Semaphore(settings.download_concurrency),
            decodes=asyncio.Semaphore(settings.decode_workers),
            uploads=asyncio.Semaphore(settings.upload_concurrency),
        )

        async def worker() -> None:
            for version in waiting:
                results[version.generation_id] = await _heal_one(healer, version)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(due), settings.upload_concurrency)):
                group.create_task(worker())
    return [results[version.generation_id] for version in due]


async def _heal_one(healer: Healer, version: ExternalVersion) -> HealedVersion:
    try:
        healed = await healer.heal(version.generation_id)
    except psycopg.Error as error:
        return told(version, "external", failure=failure_of(database_failure(error)))
    except LedgerError as error:
        return told(version, "external", failure=failure_of(error))
    return healed or told(version, "already")
