"""Moves a library to another store: copies every object, then corrects the addresses.

Belongs here: going through the register, bounds, when to stop. Does not belong here: one object
(`pipeline.upkeep.storage_copy_objects`), whether readers see it
(`pipeline.upkeep.storage_copy_readers`), addresses (`pipeline.upkeep.storage_copy_addresses`).

One copy at a time. What was brought and seen whole is noted per object, so that a call that was
interrupted goes on where it was. The store in use is never written to: its addresses go on working.
Until the settings name the new store, new pictures go to the old one; the next call brings them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from scene_pipeline.database import storage_copies
from scene_pipeline.database.collection import Amount
from scene_pipeline.database.storage_copies import LibraryObject
from scene_pipeline.database.turns import turn
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.storage_copy_addresses import AddressCorrector
from scene_pipeline.pipeline.upkeep.storage_copy_objects import (
    COPY_DAMAGED,
    CopyFailedError,
    ObjectCopier,
    prepare_work_folder,
)
from scene_pipeline.pipeline.upkeep.storage_copy_readers import ReaderCheck
from scene_pipeline.pipeline.upkeep.storage_copy_report import (
    CopyProgress,
    CopyReport,
    CopyStep,
    CopyTarget,
)

TURN = "storage_copy"
MAX_FAILURES = 1000
"""Objects that one call fails at before it stops."""
GIVE_UP_AFTER = 10
"""Failures of a store one after the other, each tried several times: it is down."""
MAX_ROUNDS = 5
"""How often what came in meanwhile is brought too, before that is left to the next call."""
_PAGE = 200

Tell = Callable[[CopyProgress], None]


async def copy_storage(
    services: Services, target: CopyTarget, *, verify: bool = False, tell: Tell | None = None
) -> CopyReport:
    """Bring every object of the register to another store, then correct the addresses.

    Args:
        services: Of this process; its store is the source, and is only read.
        target: Where to.
        verify: Read every object back from there, also what earlier calls brought.
        tell: Called after each object.

    Raises:
        UsageError: code "storage_copy_running": another process is at it.
    """
    async with turn(services.database_url, TURN) as is_ours:
        if not is_ours:
            raise UsageError(
                "Another copy of this library is under way.",
                code="storage_copy_running",
                next_action="Wait until it has ended; it goes on where it was if it is stopped.",
            )
        await services.call(prepare_work_folder, services)
        copy = _Copy(services, target, ObjectCopier(services, target, verify), tell)
        if verify:
            await copy.check_earlier()
        await copy.bring_and_correct()
        async with services.pool.connection() as conn:
            copy.report.present, copy.report.copied = await storage_copies.count_objects(
                conn, target.identity
            )
    return copy.report


@dataclass
class _Copy:
    """One call's work."""

    services: Services
    target: CopyTarget
    copier: ObjectCopier
    tell: Tell | None
    report: CopyReport = field(default_factory=CopyReport)
    _failed_keys: set[str] = field(default_factory=set)
    _failures_in_a_row: int = 0
    _done: Amount = field(default_factory=Amount)
    _total: Amount = field(default_factory=Amount)

    async def check_earlier(self) -> None:
        """Read back what earlier calls brought; what is not there any more is brought again."""
        _, self._total = await self._count()
        self._done = Amount()
        after = ""
        while self.report.given_up is None:
            async with self.services.pool.connection() as conn:
                page = await storage_copies.copied_objects(conn, self.target.identity, after, _PAGE)
            if not page:
                return
            after = page[-1].key
            await self._side_by_side(page, self._check)

    async def bring_and_correct(self) -> None:
        """Bring what is missing until nothing new comes in, and correct addresses in between."""
        corrector = AddressCorrector(self.services, self.target, self.report)
        for number in range(MAX_ROUNDS):
            tried = await self._bring_all()
            if self.report.given_up is not None or self._is_anything_missing():
                self.report.addresses = "held_back"
                return
            if number and not tried:
                return
            if (
                not number
                and not await ReaderCheck(self.services, self.target, self.report).admits()
            ):
                return
            failpoint("copy_before_addresses")
            self._say("correcting")
            await corrector.correct()
            failpoint("copy_after_addresses")
        self.report.is_settled = False

    def _is_anything_missing(self) -> bool:
        """Whether something could be in the other store, and is not.

        What the source does not have is lost to every store; it keeps its old address and does not
        hold up the rest.
        """
        return any(failure.side != "source" for failure in self.report.failures)

    async def _bring_all(self) -> int:
        self._total, self._done = await self._count()
        after, tried = "", 0
        while self.report.given_up is None:
            async with self.services.pool.connection() as conn:
                page = await storage_copies.objects_to_copy(
                    conn, self.target.identity, after, _PAGE
                )
            if not page:
                break
            after = page[-1].key
            due = [wanted for wanted in page if wanted.key not in self._failed_keys]
            await self._side_by_side(due, self._bring)
            tried += len(due)
        return tried

    async def _side_by_side(
        self, objects: Sequence[LibraryObject], work: Callable[[LibraryObject], Awaitable[None]]
    ) -> None:
        waiting = iter(objects)

        async def worker() -> None:
            for wanted in waiting:
                if self.report.given_up is not None:
                    return
                await work(wanted)

        count = min(len(objects), self.services.settings.upload_concurrency)
        await asyncio.gather(*(worker() for _ in range(count)))

    async def _bring(self, wanted: LibraryObject) -> None:
        try:
            result = await self.copier.bring(wanted)
        except CopyFailedError as error:
            self._fail(wanted.key, error)
        else:
            self._failures_in_a_row = 0
            amount = Amount(1, wanted.size_bytes)
            self._done += amount
            if result == "sent":
                self.report.sent += amount
            elif result == "found":
                self.report.found += amount
            if result != "collected" and self.copier.verify:
                self.report.verified += 1
        self._say("copying")

    async def _check(self, wanted: LibraryObject) -> None:
        try:
            is_there = await self.copier.check(wanted)
        except CopyFailedError as error:
            if error.failure.failure.code == COPY_DAMAGED:
                await self._forget(wanted)
            self._fail(wanted.key, error)
        else:
            self._failures_in_a_row = 0
            self._done += Amount(1, wanted.size_bytes)
            if is_there:
                self.report.verified += 1
            else:
                await self._forget(wanted)
        self._say("verifying")

    async def _forget(self, wanted: LibraryObject) -> None:
        async with self.services.pool.connection() as conn:
            await storage_copies.forget_copy(conn, self.target.identity, wanted.key)

    def _fail(self, key: str, error: CopyFailedError) -> None:
        self._failed_keys.add(key)
        self.report.failures.append(error.failure)
        if error.failure.side != "source" or error.is_retryable:
            self._failures_in_a_row += 1
        is_down = self._failures_in_a_row >= GIVE_UP_AFTER
        if is_down or len(self.report.failures) >= MAX_FAILURES:
            self.report.given_up = error.failure.failure

    async def _count(self) -> tuple[Amount, Amount]:
        async with self.services.pool.connection() as conn:
            return await storage_copies.count_objects(conn, self.target.identity)

    def _say(self, doing: CopyStep) -> None:
        if self.tell is not None:
            progress = CopyProgress(doing, self._done, self._total, len(self.report.failures))
            self.tell(progress)
