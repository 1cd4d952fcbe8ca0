"""A store that forgets: for tests, and for trying things out with `memory://`.

Belongs here: the shortest true implementation of `ObjectStore`.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from scene_pipeline.storage.base import StoredObject, UrlMode
from scene_pipeline.storage.keys import (
    check_key,
    check_object,
    check_prefix,
    foreign_object,
    missing_object,
)


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

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`."""
        with self._lock:
            held = self._objects.get(check_key(key))
        if held is None:
            raise missing_object(key)
        return held.data

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

    def url(self, key: str, mode: UrlMode = "public") -> str:  # noqa: ARG002 (one kind of address)
        """See `ObjectStore.url`; every mode gives the same address."""
        return f"memory:///{check_key(key)}"

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._objects.clear()
