"""Objects as rows of `asset_blobs`: the store of last resort, where a database is all there is.

Belongs here: the table's SQL and what its errors mean. Does not belong here: the schema
(`database.migrations`) and HTTP.

Mode of operation: create-only by the unique key, in one statement; the server digests what it got
before the transaction ends. Large files travel in pieces that the server joins, and are read in
pieces too (the column is stored uncompressed, so that a part costs a part). Every statement takes
a connection of a small pool of its own and gives it back at once, so slow readers hold none.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from scene_pipeline.database.session import PARAMETERS
from scene_pipeline.database.urls import application_url, redacted
from scene_pipeline.storage.base import StoredObject
from scene_pipeline.storage.database_errors import refusal_of
from scene_pipeline.storage.files import pieces_of
from scene_pipeline.storage.keys import (
    MAX_OBJECT_BYTES,
    check_file,
    check_key,
    check_object,
    check_prefix,
    corrupted_object,
    foreign_object,
    missing_object,
    taken_key,
)
from scene_pipeline.storage.served import Incoming, ServedFacts, ServedMode, ServedStore
from scene_pipeline.storage.signing import Signer
from scene_pipeline.storage.uploads import DatabaseUpload

CONNECTIONS = 4
WAIT_SECONDS = 15.0
"""How long a caller waits for a connection; a server that is down is told after that."""
MAX_WAITING = 256
PAGE_ROWS = 1000
STATEMENT_SECONDS = 120
"""256 MiB are joined and digested by one statement."""

_CHUNK_BYTES = 1024 * 1024
_SERVED_BYTES = 256 * 1024
"""What is in memory per reader of our server."""
_LAST = "\x7f"
"""Sorts behind every character of a key."""
_LIMITS = f"SET statement_timeout = '{STATEMENT_SECONDS}s'"

_INSERT = """
INSERT INTO asset_blobs (key, data, content_type, size_bytes, sha256)
VALUES (%s, %b, %s, %s, %s) ON CONFLICT (key) DO NOTHING
RETURNING encode(sha256(data), 'hex')
"""
_PIECES = "CREATE TEMPORARY TABLE pieces (n integer, piece bytea STORAGE EXTERNAL) ON COMMIT DROP"
_PIECE = "INSERT INTO pieces VALUES (%s, %b)"
_JOIN = """
INSERT INTO asset_blobs (key, data, content_type, size_bytes, sha256)
SELECT %s, string_agg(piece, ''::bytea ORDER BY n), %s, %s, %s FROM pieces
ON CONFLICT (key) DO NOTHING
RETURNING encode(sha256(data), 'hex')
"""
_FACTS = "SELECT size_bytes, content_type, sha256, id FROM asset_blobs WHERE key = %s"
_PART = "SELECT substring(data FROM %s FOR %s) FROM asset_blobs WHERE id = %s"
_PAGE = """
SELECT key, size_bytes, content_type, sha256 FROM asset_blobs
WHERE key ~>=~ %s AND key ~<~ %s AND key ~>~ %s ORDER BY key USING ~<~ LIMIT %s
"""


class DatabaseStore(ServedStore):
    """Objects of at most `MAX_OBJECT_BYTES` (256 MiB), files too, in the application's database.

    Args:
        database_url: `postgresql://...`, migrated; not contacted yet.
        public_base_url: Address at which `scene_pipeline.api` shows them.
        permanent: See `ServedStore`.
        signer: See `ServedStore`.
    """

    def __init__(
        self,
        database_url: str,
        public_base_url: str,
        *,
        permanent: ServedMode = "public",
        signer: Signer | None = None,
    ) -> None:
        super().__init__(
            public_base_url, permanent=permanent, signer=signer, max_upload_bytes=MAX_OBJECT_BYTES
        )
        self._url = application_url(database_url)
        self._opening = Lock()
        self._opened: ConnectionPool[Connection[TupleRow]] | None = None

    @property
    def description(self) -> str:
        """See `ObjectStore.description`."""
        return f"rows of the database {redacted(self._url)}"

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put`."""
        check_object(key, data, content_type, sha256)
        return self._insert_or_find(StoredObject(key, len(data), content_type, sha256), (data,))

    def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put_file`; refused above 256 MiB."""
        size_bytes = check_file(key, path, content_type, sha256, max_bytes=MAX_OBJECT_BYTES)
        facts = StoredObject(key, size_bytes, content_type, sha256)
        return self._insert_or_find(facts, pieces_of(path, _CHUNK_BYTES))

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`."""
        return b"".join(self.open(key))

    def open(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore.open`; no connection is held between two chunks."""
        size_bytes, _, sha256, row_id = self._found(key)
        digest = hashlib.sha256()
        for chunk in self._chunks(key, row_id, 0, size_bytes):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != sha256:
            raise corrupted_object(key)

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore.head`; the digest is the one that was checked when it was stored."""
        with self._connection(check_key(key)) as conn:
            found = conn.execute(_FACTS, (key,)).fetchone()
        return None if found is None else StoredObject(key, *found[:3])

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with self._connection(check_key(key)) as conn:
            conn.execute("DELETE FROM asset_blobs WHERE key = %s", (key,))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore.list`; in key order, `PAGE_ROWS` at a time."""
        behind, end = "", check_prefix(prefix) + _LAST
        while True:
            with self._connection(prefix) as conn:
                page = conn.execute(_PAGE, (prefix, end, behind, PAGE_ROWS)).fetchall()
            yield from (StoredObject(*row) for row in page)
            if len(page) < PAGE_ROWS:
                return
            behind = page[-1][0]

    def close(self) -> None:
        """See `ObjectStore.close`."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def served(self, key: str) -> ServedFacts:
        """See `ServedStore.served`."""
        size_bytes, _, sha256, _ = self._found(key)
        return ServedFacts(size_bytes, sha256[:32])

    def part(self, key: str, first: int, size_bytes: int) -> Iterator[bytes]:
        """See `ServedStore.part`."""
        *_, row_id = self._found(key)
        yield from self._chunks(key, row_id, first, size_bytes, _SERVED_BYTES)

    def receive(self, key: str) -> Incoming:
        """See `ServedStore.receive`; it waits on this machine's disk until it is whole."""
        if self.head(key) is not None:
            raise taken_key(key)
        return DatabaseUpload(key, self._insert)

    def _insert(self, facts: StoredObject, pieces: Iterable[bytes]) -> bool:
        """Store what was checked already; False where the key is taken.

        Args:
            facts: Of the whole object.
            pieces: Its bytes, a piece in memory at a time.

        Raises:
            StorageError: code "storage_corrupted" where the server got other bytes.
        """
        values = (facts.content_type, facts.size_bytes, facts.sha256)
        with self._connection(facts.key) as conn:
            if conn.execute(_FACTS, (facts.key,)).fetchone() is not None:
                return False
            if facts.size_bytes <= _CHUNK_BYTES:
                told = conn.execute(_INSERT, (facts.key, b"".join(pieces), *values)).fetchone()
            else:
                conn.execute(_PIECES)
                for number, piece in enumerate(pieces):
                    conn.execute(_PIECE, (number, piece))
                told = conn.execute(_JOIN, (facts.key, *values)).fetchone()
            if told is not None and told[0] != facts.sha256:
                raise corrupted_object(facts.key)
        return told is not None

    def _insert_or_find(self, facts: StoredObject, pieces: Iterable[bytes]) -> StoredObject:
        if self._insert(facts, pieces):
            return facts
        found = self.head(facts.key)
        if found is None or found.sha256 != facts.sha256:
            raise foreign_object(facts.key)
        return found

    def _found(self, key: str) -> tuple[int, str, str, UUID]:
        with self._connection(check_key(key)) as conn:
            found = conn.execute(_FACTS, (key,)).fetchone()
        if found is None:
            raise missing_object(key)
        size_bytes, content_type, sha256, row_id = found
        return size_bytes, content_type, sha256, row_id

    def _chunks(
        self, key: str, row_id: UUID, first: int, size_bytes: int, step: int = _CHUNK_BYTES
    ) -> Iterator[bytes]:
        end = first + size_bytes
        while first < end:
            with self._connection(key) as conn:
                # Counted from 1.
                part = conn.execute(_PART, (first + 1, min(step, end - first), row_id)).fetchone()
            if part is None:
                raise missing_object(key)
            if not part[0]:
                return
            first += len(part[0])
            yield part[0]

    @contextmanager
    def _connection(self, key: str) -> Iterator[Connection[TupleRow]]:
        """One transaction, its errors turned into this package's."""
        try:
            with self._pool().connection() as conn:
                yield conn
        except (PoolClosed, PoolTimeout, TooManyRequests, psycopg.Error) as error:
            raise refusal_of(key, redacted(self._url), error) from error

    def _pool(self) -> ConnectionPool[Connection[TupleRow]]:
        with self._opening:
            if self._opened is None:
                given = conninfo_to_dict(self._url)
                pool = ConnectionPool(
                    self._url,
                    kwargs={name: at for name, at in PARAMETERS.items() if name not in given},
                    min_size=0,
                    max_size=CONNECTIONS,
                    open=False,
                    configure=_set_limits,
                    # A connection that died while idle is replaced instead of handed out.
                    check=ConnectionPool.check_connection,
                    timeout=WAIT_SECONDS,
                    max_waiting=MAX_WAITING,
                    num_workers=1,
                    name="scene-pipeline-blobs",
                )
                pool.open()
                self._opened = pool
            return self._opened


def _set_limits(connection: Connection[TupleRow]) -> None:
    connection.execute(_LIMITS)
    connection.commit()
