"""Writing an object once and for good into a bucket whose server may or may not help with that.

Belongs here: the order of looking, sending and looking again, the same for every make of server.
Does not belong here: how bytes are sent (`storage.s3_sending`, `storage.gcs`).

Where the server honours create-only writes, it decides between writers. Where it does not, the key
is looked for beforehand, writers of one process wait for each other, and writers of different
processes find out by reading back: one that is overwritten between its own read-back and the
other's write cannot know. That takes two processes that write other bytes under one key within
milliseconds, and keys carry the digest of their content.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import StoredObject
from scene_pipeline.storage.keys import foreign_object, missing_object

CreateOnly = Literal["honoured", "ignored", "refused"]
"""What a server makes of a create-only write: "refused" servers answer it with an error."""

_LINES = tuple(threading.Lock() for _ in range(64))
"""Writers of one key stand in one of them, where only this process can keep them apart."""


class Bucket(Protocol):
    """What must be known of a store to write into it once."""

    @property
    def description(self) -> str:
        """See `ObjectStore.description`."""
        ...

    def open(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore.open`."""
        ...

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore.head`."""
        ...

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        ...


def create_once(
    bucket: Bucket,
    facts: StoredObject,
    send: Callable[[bool], None],
    *,
    create_only: CreateOnly,
    read_back_bytes: int,
) -> StoredObject:
    """Write an object, unless it is there already, and see that it arrived.

    Args:
        bucket: Where to.
        facts: What the object shall be; with a digest.
        send: Sends it, create-only where told True.
        create_only: What the server makes of that.
        read_back_bytes: Up to this size the bytes themselves are compared afterwards, beyond it
            the size and the digest kept beside them.

    Raises:
        StorageError: "object_exists" where other bytes are there; "storage_corrupted", retryable,
            where other bytes came back than were sent.
    """
    if create_only == "honoured":
        return _written(bucket, facts, send, create_only, read_back_bytes)
    with _LINES[hash((bucket.description, facts.key)) % len(_LINES)]:
        if bucket.head(facts.key) is not None:
            return _same(bucket, facts, read_back_bytes)
        return _written(bucket, facts, send, create_only, read_back_bytes)


def asked_create_only(send: Callable[[bytes], None]) -> CreateOnly:
    """Find out what a server makes of create-only writes.

    Args:
        send: Writes an object, create-only, always under the same key; it may be there already.

    Raises:
        StorageError: The server could not be asked.
    """
    try:
        for data in (b"first", b"second"):
            send(data)
    except StorageError as error:
        if error.error_code == "object_exists":
            return "honoured"
        if error.error_code == "storage_unsupported":
            return "refused"
        if error.error_code == "storage_denied":
            # Credentials limited to other keys: the safe assumption is that it does not hold.
            return "ignored"
        raise
    return "ignored"


def _written(
    bucket: Bucket,
    facts: StoredObject,
    send: Callable[[bool], None],
    create_only: CreateOnly,
    read_back_bytes: int,
) -> StoredObject:
    try:
        send(create_only != "refused")
    except StorageError as error:
        if error.error_code != "object_exists":
            raise
        # A repetition of our own, or another worker's; both wrote what we want, or it is wrong.
        return _same(bucket, facts, read_back_bytes)
    # Looked at twice, so that a fault on the way back does not condemn a sound object.
    if not _holds(bucket, facts, read_back_bytes) and not _holds(bucket, facts, read_back_bytes):
        if create_only != "honoured":
            raise foreign_object(facts.key)
        # Nobody knows of this object yet, and left in place it would refuse every repetition.
        bucket.delete(facts.key)
        message = f"{facts.key} came back with other bytes than were sent ({bucket.description})."
        raise StorageError(message, code="storage_corrupted", retryable=True)
    return facts


def _same(bucket: Bucket, facts: StoredObject, read_back_bytes: int) -> StoredObject:
    if not _holds(bucket, facts, read_back_bytes):
        raise foreign_object(facts.key)
    return facts


def _holds(bucket: Bucket, facts: StoredObject, read_back_bytes: int) -> bool:
    """Whether the bucket holds these very bytes under this key."""
    if facts.size_bytes > read_back_bytes:
        found = bucket.head(facts.key)
        if found is None:
            raise missing_object(facts.key)
        if found.size_bytes != facts.size_bytes:
            return False
        if found.sha256 is not None:
            return found.sha256 == facts.sha256
    digest = hashlib.sha256()
    try:
        for chunk in bucket.open(facts.key):
            digest.update(chunk)
    except StorageError as error:
        if error.error_code == "storage_corrupted":
            return False
        raise
    return digest.hexdigest() == facts.sha256
