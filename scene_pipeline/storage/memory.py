"""A store that forgets: for tests, and for trying things out with `memory://`.

Belongs here: the shortest true implementation of `ObjectStore`.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.addresses import unsupported_mode
from scene_pipeline.storage.base import (
    SIGNED_URL_SECONDS,
    UPLOAD_SECONDS,
    PresignedUpload,
    StoredObject,
    UrlMode,
)
from scene_pipeline.storage.keys import (
    MAX_OBJECT_BYTES,
    check_file,
    check_key,
    check_object,
    check_prefix,
    check_type,
    foreign_object,
    missing_object,
)

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Held:
    data: bytes
    facts: StoredObject


class MemoryStore:
    """Objects in a dictionary of this process.

    Addresses are `memory:///<key>`: they name an object and answer nobody, which is honest about
    a store that is gone with its process.
    """

    def __init__(self) -> None:
        self._objects: dict[str, _Held] = {}
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """See `ObjectStore.description`."""
        return "memory of this process (lost when it ends)"

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put`."""
        check_object(key, data, content_type, sha256)
        facts = StoredObject(
            key=key, size_bytes=len(data), content_type=content_type, sha256=sha256
        )
        with self._lock:
            held = self._objects.setdefault(key, _Held(bytes(data), facts))
        if held.facts.sha256 != sha256:
            raise foreign_object(key)
        return held.facts

    def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put_file`; it is all in memory afterwards, so `put`'s bound holds."""
        check_file(key, path, content_type, sha256, max_bytes=MAX_OBJECT_BYTES)
        return self.put(key, path.read_bytes(), content_type=content_type, sha256=sha256)

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`."""
        with self._lock:
            held = self._objects.get(check_key(key))
        if held is None:
            raise missing_object(key)
        return held.data

    def open(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore.open`."""
        data = self.read(key)
        for first in range(0, len(data), _CHUNK_BYTES):
            yield data[first : first + _CHUNK_BYTES]

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore.head`."""
        with self._lock:
            held = self._objects.get(check_key(key))
        return None if held is None else held.facts

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with self._lock:
            self._objects.pop(check_key(key), None)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore.list`."""
        check_prefix(prefix)
        with self._lock:
            found = [held.facts for key, held in self._objects.items() if key.startswith(prefix)]
        yield from sorted(found, key=lambda facts: facts.key)

    def url(self, key: str, mode: UrlMode | None = None) -> str:
        """See `ObjectStore.url`; there are public addresses only."""
        if mode not in (None, "public"):
            raise unsupported_mode(mode)
        return f"memory:///{check_key(key)}"

    def urls(
        self,
        keys: Iterable[str],
        mode: UrlMode | None = None,
        *,
        expires_seconds: int = SIGNED_URL_SECONDS,  # noqa: ARG002 (nothing is signed)
    ) -> dict[str, str]:
        """See `ObjectStore.urls`."""
        return {key: self.url(key, mode) for key in keys}

    def presign_upload(
        self,
        key: str,
        *,
        content_type: str,
        max_bytes: int,  # noqa: ARG002 (nothing is permitted)
        expires_seconds: int = UPLOAD_SECONDS,  # noqa: ARG002
    ) -> PresignedUpload:
        """See `ObjectStore.presign_upload`; nobody reaches the memory of a process."""
        check_type(check_key(key), content_type)
        raise StorageError(
            "The memory of this process takes no uploads from outside.",
            code="upload_unsupported",
            next_action="Name another store in SCENE_PIPELINE_STORAGE.",
        )

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._objects.clear()
