"""The user's own object store, which can be made to fail for a while.

Belongs here: the scripted outage, and knowing when no upload is under way any more. Does not belong
here: any bytes; everything else goes straight to the store behind it.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scene_pipeline.errors import StorageError
from scene_pipeline.scenes.identity import slug
from scene_pipeline.storage.base import (
    SIGNED_URL_SECONDS,
    UPLOAD_SECONDS,
    ObjectStore,
    PresignedUpload,
    StoredObject,
    UrlMode,
)

_DRAIN_SECONDS = 60.0


class OutageStore:
    """An `ObjectStore` before another one.

    Args:
        store: The real one; closing this one leaves it open.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._turn = threading.Condition()
        self._broken = ""
        self._is_shut = False
        self._under_way = 0
        self.refused = 0
        """Uploads that met the outage."""

    @property
    def description(self) -> str:
        """See `ObjectStore`."""
        return self._store.description

    def break_for(self, scene_id: str) -> None:
        """From now on refuse the objects of one scene."""
        self._broken = f"/scenes/{slug(scene_id)}"

    def mend(self) -> None:
        """End the outage."""
        self._broken = ""

    def shut(self) -> bool:
        """Refuse every further upload and wait for those under way; False if they take too long.

        An interrupted run leaves its threads behind: without this an upload of theirs could arrive
        after everything was removed.
        """
        with self._turn:
            self._is_shut = True
            return self._turn.wait_for(lambda: self._under_way == 0, timeout=_DRAIN_SECONDS)

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore`; refused while the outage lasts."""
        with self._upload(key):
            return self._store.put(key, data, content_type=content_type, sha256=sha256)

    def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore`; refused while the outage lasts."""
        with self._upload(key):
            return self._store.put_file(key, path, content_type=content_type, sha256=sha256)

    def read(self, key: str) -> bytes:
        """See `ObjectStore`."""
        return self._store.read(key)

    def open(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        return self._store.open(key)

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore`."""
        return self._store.head(key)

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        self._store.delete(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore`."""
        return self._store.list(prefix)

    def url(self, key: str, mode: UrlMode | None = None) -> str:
        """See `ObjectStore`."""
        return self._store.url(key, mode)

    def urls(
        self,
        keys: Iterable[str],
        mode: UrlMode | None = None,
        *,
        expires_seconds: int = SIGNED_URL_SECONDS,
    ) -> dict[str, str]:
        """See `ObjectStore`."""
        return self._store.urls(keys, mode, expires_seconds=expires_seconds)

    def presign_upload(
        self,
        key: str,
        *,
        content_type: str,
        max_bytes: int,
        expires_seconds: int = UPLOAD_SECONDS,
    ) -> PresignedUpload:
        """See `ObjectStore`; a drill permits none, and one that is permitted goes past it."""
        return self._store.presign_upload(
            key, content_type=content_type, max_bytes=max_bytes, expires_seconds=expires_seconds
        )

    def close(self) -> None:
        """Leave the real store open: the drill reads back from it and cleans up in it."""

    @contextmanager
    def _upload(self, key: str) -> Iterator[None]:
        with self._turn:
            if self._is_shut or (self._broken and self._broken in key):
                self.refused += 1
                raise StorageError(
                    "The object store is down (an outage of the drill).",
                    code="storage_unavailable",
                    retryable=not self._is_shut,
                )
            self._under_way += 1
        try:
            yield
        finally:
            with self._turn:
                self._under_way -= 1
                self._turn.notify_all()
