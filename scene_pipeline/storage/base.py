"""The face every object store shows to the pipeline.

Stores are synchronous and thread safe; the pipeline calls them from its own bounded threads. An
object is immutable: a new version is a new key, and `put` never overwrites other bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

IMMUTABLE_CACHE_CONTROL = "public, max-age=31536000, immutable"
"""Right for content-named keys only: their bytes can never change."""

UrlMode = Literal["public", "cdn", "signed"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a store knows about one object."""

    key: str
    size_bytes: int
    content_type: str | None
    sha256: str | None
    """Hex digest, where the store keeps one."""


class ObjectStore(Protocol):
    """Bytes under opaque keys.

    Every method raises `scene_pipeline.errors.StorageError` when the store refuses or cannot be
    reached, with `retryable` set; messages contain no credentials and no signed query string.
    """

    @property
    def description(self) -> str:
        """One line for people: "local files in /data/frames", "S3 bucket frames at https://..."."""
        ...

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """Store bytes for good, atomically, and verify that they arrived.

        The same bytes under the same key again are a success; other bytes are refused.

        Args:
            key: From `scenes.identity`, never user text.
            data: The whole object.
            content_type: Media type it will be served with.
            sha256: Hex digest of `data`; checked.

        Raises:
            StorageError: code "object_exists" where other bytes are already there.
        """
        ...

    def read(self, key: str) -> bytes:
        """Give the whole object back.

        Raises:
            StorageError: code "object_missing".
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """Facts about an object, or None where there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is a success."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts with `prefix`, in no certain order, read page by page."""
        ...

    def url(self, key: str, mode: UrlMode = "public") -> str:
        """The address of an object, made without a network call."""
        ...

    def close(self) -> None:
        """Release connections; the store is not used afterwards."""
        ...
