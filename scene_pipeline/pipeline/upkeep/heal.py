"""Heals what is at the providers only, in the order in which it expires.

Belongs here: choosing, bounds, the report. Does not belong here: one version's healing
(`pipeline.keeping.healer`), recording a version as external (`pipeline.making.rehost`), other drift
(`pipeline.upkeep.reconcile`), when to try again (`database.heal_times`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from scene_pipeline.database import heal_times, healing
from scene_pipeline.database.healing import ExternalVersion
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.projects import get_project
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.facts import database_failure, failure_of
from scene_pipeline.pipeline.keeping.healer import HealedVersion, Healer, HealStatus, told
from scene_pipeline.pipeline.orders import Failure, SceneRef
from scene_pipeline.pipeline.services import Services


@dataclass(frozen=True, slots=True)
class HealReport:
    """How it went with all of them, in the order in which they expire."""

    versions: tuple[HealedVersion, ...]
    remaining: int
    """Versions that are still at their providers only, also those that were not tried."""

    store_failure: Failure | None = None
    """Why the store was not asked any more; what was left waits for it."""

    def count(self, status: HealStatus) -> int:
        """How many ended so."""
        return sum(version.status == status for version in self.versions)


async def heal(
    services: Services,
    *,
    project_key: str | None = None,
    limit: int = 100,
    only_due: bool = False,
) -> HealReport:
    """Heal what is at the providers only, what expires first first.

    A store that keeps refusing is not asked for the rest, which is then due again when those that
    were tried are; once it takes a picture again, all that waited for it is due at once.

    Args:
        services: Of this process.
        project_key: Only this project's versions.
        limit: Most versions to try.
        only_due: Only versions whose time to be tried (again) has come.

    Raises:
        NotFoundError: There is no such project.
    """
    async with services.pool.connection() as conn:
        if project_key is not None:
            await get_project(conn, project_key)
        due = await healing.external_versions(conn, project_key, limit, only_due=only_due)
    done, store_failure = await _heal_all(services, due) if due else ([], None)
    async with services.pool.connection() as conn:
        if store_failure is not None:
            await heal_times.postpone(conn, [version.generation_id for version in done])
            if project_key is None:
                await heal_times.tell_outage(
                    conn,
                    code=store_failure.code,
                    message=store_failure.message,
                    next_action=store_failure.next_action,
                )
        elif any(version.status == "healed" for version in done):
            await heal_times.bring_forward(conn)
        remaining = await healing.count_external(conn, project_key)
    return HealReport(tuple(done), remaining, store_failure)


async def _heal_all(
    services: Services, due: Sequence[ExternalVersion]
) -> tuple[list[HealedVersion], Failure | None]:
    """Heal them side by side; gives how each went, and why the store was given up, if it was."""
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
    return [results[version.generation_id] for version in due], healer.given_up


async def _heal_one(healer: Healer, version: ExternalVersion) -> HealedVersion:
    ref = SceneRef(version.project_key, version.scene_id)
    try:
        healed = await healer.heal(version.generation_id)
    except psycopg.Error as error:
        return told(version, "external", failure=failure_of(database_failure(error), ref))
    except LedgerError as error:
        return told(version, "external", failure=failure_of(error, ref))
    return healed or told(version, "already")
