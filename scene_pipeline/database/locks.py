"""Who may work on a generation: session advisory locks on one dedicated connection.

Named locks of other kinds (`database.slots`) stand on the same connection.

A paused worker keeps its locks and a killed one loses them at once, because PostgreSQL ties them
to the connection. (Measured: with a lease two workers paid, with the lock one did.) When the
connection is lost, nothing may be posted any more for what it held: `assert_held` is asked right
before every payment. A lock that is taken afterwards stands on a new connection. Needs direct or
session-pooled connections.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, LiteralString, Self
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import LedgerError

LOCK_LOST: Final = "lock_lost"
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('generation:' || %s, 0))"
# The function is volatile and the rows come one by one: LIMIT stops at the first lock that is had.
_TRY_ONE_OF: Final = (
    "SELECT name FROM unnest(%s::text[]) AS name"
    " WHERE pg_try_advisory_lock(hashtextextended(name, 0)) LIMIT 1"
)
_CLOSE_SECONDS = 5.0
"""Longest wait for an answer that is under way when the run is over."""


@dataclass(frozen=True, slots=True)
class NamedLock:
    """A lock of another kind that this process holds, for as long as its connection lasts."""

    name: str
    connection: AsyncConnection[tuple[object, ...]] = field(repr=False)


class GenerationLocks:
    """The locks of one run process.

    A session lock may be taken twice by the same session, so the process keeps its own set against
    that.
    """

    def __init__(self, url: str, connection: AsyncConnection[tuple[object, ...]]) -> None:
        self._url = url
        self._connection = connection
        self._turn = asyncio.Lock()
        self._held: set[UUID] = set()

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str) -> AsyncIterator[Self]:
        """Open the dedicated connection; closing it gives every lock back."""
        locks = cls(url, await _open(url))
        try:
            yield locks
        finally:
            await locks._close()

    async def try_acquire(self, generation_id: UUID) -> bool:
        """Take the lock if nobody has it, in this process or another.

        Raises:
            LedgerError: The connection that holds the locks is lost.
        """
        if generation_id in self._held:
            return False
        try:
            acquired = await self._ask(_TRY_LOCK, str(generation_id))
        except LedgerError:
            # What was held is lost; a lock that is taken now can stand on a new connection.
            await self._connect_again()
            acquired = await self._ask(_TRY_LOCK, str(generation_id))
        if acquired:
            self._held.add(generation_id)
        return bool(acquired)

    async def release(self, generation_id: UUID) -> None:
        """Give the lock back; on a lost connection it already is."""
        if generation_id not in self._held:
            return
        self._held.discard(generation_id)
        with suppress(LedgerError):
            await self._ask(
                "SELECT pg_advisory_unlock(hashtextextended('generation:' || %s, 0))",
                str(generation_id),
            )

    async def try_acquire_one(self, names: Sequence[str]) -> NamedLock | None:
        """Take the first of these locks that nobody has; None where all are taken.

        Args:
            names: None that this process holds already: a session may take its own lock again.

        Raises:
            LedgerError: The connection that holds the locks is lost.
        """
        name = await self._ask(_TRY_ONE_OF, list(names))
        return NamedLock(str(name), self._connection) if name else None

    def is_standing(self, lock: NamedLock) -> bool:
        """Whether the connection that a named lock was taken on is still the one in use."""
        return lock.connection is self._connection and not self._connection.closed

    async def release_one(self, lock: NamedLock) -> None:
        """Give a named lock back; on a lost connection it already is.

        One of the same name that was taken on a newer connection is another's, and stays.
        """
        question = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
        with suppress(LedgerError):
            await self._ask(question, lock.name, on=lock.connection)

    async def assert_held(self, generation_id: UUID) -> None:
        """Ask the server itself whether this session still holds the lock.

        Raises:
            LedgerError: It does not, so nothing may be paid.
        """
        held = generation_id in self._held and await self._ask(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND pid = pg_backend_pid() AND objsubid = 1"
            " AND ((classid::bigint << 32) | objid::bigint)"
            "     = hashtextextended('generation:' || %s, 0))",
            str(generation_id),
        )
        if not held:
            message = f"The lock of generation {generation_id} was lost; nothing was sent."
            raise LedgerError(message, code=LOCK_LOST, retryable=True)

    async def _close(self) -> None:
        """Close once the question that is under way is answered.

        A scene that was cut off while it gave its lock back may still be asking; a socket that is
        closed under a waiting question stays behind in the event loop, and the next connection
        that gets its number fails.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS), self._turn:
                await self._connection.close()
        await self._connection.close()

    async def _ask(
        self,
        question: LiteralString,
        parameter: object,
        *,
        on: AsyncConnection[tuple[object, ...]] | None = None,
    ) -> object:
        async with self._turn:
            if on is not None and on is not self._connection:
                raise _lost()
            try:
                cursor = await self._connection.execute(question, (parameter,))
                row = await cursor.fetchone()
            except psycopg.OperationalError as error:
                # Whatever was held is not ours any more.
                self._held.clear()
                await self._connection.close()
                raise _lost() from error
        return row[0] if row else None

    async def _connect_again(self) -> None:
        async with self._turn:
            if not self._connection.closed:
                return  # another scene of this run was quicker
            try:
                self._connection = await _open(self._url)
            except psycopg.OperationalError as error:
                raise _lost() from error


async def is_worked_on(conn: Connection, generation_id: UUID) -> bool:
    """Whether some process, this one included, holds a generation's lock at this moment."""
    cursor = await conn.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND d.datname = current_database()"
        " AND ((l.classid::bigint << 32) | l.objid::bigint)"
        "     = hashtextextended('generation:' || %s, 0)) AS is_held",
        (str(generation_id),),
    )
    row = await cursor.fetchone()
    return bool(row and row["is_held"])


def _lost() -> LedgerError:
    message = "The database connection that holds the locks was lost."
    return LedgerError(message, code=LOCK_LOST, retryable=True)


async def _open(url: str) -> AsyncConnection[tuple[object, ...]]:
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        application_name="scene-pipeline-locks",
        connect_timeout=10,
        keepalives=1,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
