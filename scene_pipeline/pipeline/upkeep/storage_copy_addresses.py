"""Addresses follow the library to another store: in rows, and in documents by the guarded write.

Belongs here: going through the rows in pages, and what may be written when. Does not belong here:
the transactions (`database.addresses`), the bytes (`pipeline.upkeep.storage_copy_objects`).

Only addresses of objects that were seen in the other store are corrected. A document is written
only where it holds the address that its current version had; everything else is an editor's, is
left alone and told as drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, get_args
from uuid import UUID

from scene_pipeline.database import addresses
from scene_pipeline.database.addresses import AddressTable
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.storage_copy_readers import waits_for_switch
from scene_pipeline.pipeline.upkeep.storage_copy_report import (
    CopyReport,
    CopyTarget,
    DocumentDrift,
)

MAX_DRIFTS = 1000
_PAGE = 500
"""Bounds how long an editor of the project waits."""


class _Addressed(Protocol):
    @property
    def key(self) -> str: ...

    @property
    def url(self) -> str: ...


A = TypeVar("A", bound=_Addressed)


@dataclass(frozen=True, slots=True)
class AddressCorrector:
    """Corrects what stands in rows and documents.

    Attributes:
        services: Only the database is used.
        target: The store whose addresses are written.
        report: Where what was done is told.
    """

    services: Services
    target: CopyTarget
    report: CopyReport

    async def correct(self) -> None:
        """Go through everything; doing it again changes nothing."""
        self.report.waiting_addresses = 0
        after: UUID | None = None
        while page := await self._projects(after):
            for project_id, project_key in page:
                await self._versions(project_id, project_key)
            after = page[-1][0]
        for table in get_args(AddressTable):
            await self._rows(table)
        is_waiting = self.report.waiting_addresses > 0
        if not is_waiting:
            await self._look_for_others()
        self.report.addresses = "wait_for_switch" if is_waiting else "corrected"

    async def _projects(self, after: UUID | None) -> list[tuple[UUID, str]]:
        async with self.services.pool.connection() as conn:
            return await addresses.projects_with_versions(conn, after, _PAGE)

    async def _versions(self, project_id: UUID, project_key: str) -> None:
        after: UUID | None = None
        while True:
            async with self.services.pool.connection() as conn:
                page = await addresses.version_addresses(
                    conn, self.target.identity, project_id, after, _PAGE
                )
            if not page:
                return
            after = page[-1].id
            moves = self._due(page)
            if not moves:
                continue
            async with self.services.pool.connection() as conn:
                moved = await addresses.move_versions(conn, project_id, moves)
            failpoint("copy_between_addresses")
            self.report.moved["scene_images"] += len(moved)
            for version in moved:
                if version.document == "written":
                    self.report.moved["documents"] += 1
                elif version.document == "url_changed" and len(self.report.drifts) < MAX_DRIFTS:
                    scene = SceneRef(project_key, version.scene_id)
                    self.report.drifts.append(DocumentDrift(scene, version.version))

    async def _rows(self, table: AddressTable) -> None:
        after = 0
        while True:
            async with self.services.pool.connection() as conn:
                page = await addresses.row_addresses(
                    conn, table, self.target.identity, after, _PAGE
                )
                if not page:
                    return
                after = page[-1].id
                if moves := self._due(page):
                    self.report.moved[table] += await addresses.move_rows(conn, table, moves)

    async def _look_for_others(self) -> None:
        """Find documents that hold addresses of the library's files elsewhere.

        They are people's words, and those of references are part of what a scene is made from: to
        write others would make it stale.
        """
        self.report.named_elsewhere.clear()
        after: UUID | None = None
        while True:
            async with self.services.pool.connection() as conn:
                page = await addresses.documents_page(conn, after, _PAGE)
                if not page:
                    return
                after = page[-1]
                named = await addresses.named_addresses(conn, self.target.identity, page)
            urls = self.target.store.urls({one.key for one in named})
            found = dict.fromkeys(one.project_key for one in named if urls[one.key] != one.url)
            room = MAX_DRIFTS - len(self.report.named_elsewhere)
            self.report.named_elsewhere.extend(list(found)[:room])

    def _due(self, page: Sequence[A]) -> list[tuple[A, str]]:
        """Which of these have another address in the target, and may be given it now."""
        urls = self.target.store.urls([row.key for row in page])
        moves = [(row, urls[row.key]) for row in page if urls[row.key] != row.url]
        due = [(row, url) for row, url in moves if not waits_for_switch(self.target, url)]
        self.report.waiting_addresses += len(moves) - len(due)
        return due
