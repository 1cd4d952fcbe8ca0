"""The face every object store shows to the pipeline.

Stores are synchronous and thread safe; the pipeline calls them from its own bounded threads. An
object is immutable: a new version is a new key, and `put` never overwrites other bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

IMMUTABLE_CACHE_CONTROL = "public, max-age=31536000, immutable"
"""Right for content-named keys only: their bytes can never change."""

PermanentMode = Literal["public", "cdn", "gateway"]
"""How the address that goes into documents is made. public: the store's own address of an object
that everybody may read. cdn: the same path below a base address of one's own. gateway: a stable
address of our own server, which redirects to a fresh signed one, for stores that nobody may read
directly."""
UrlMode = Literal["public", "cdn", "gateway", "signed"]
"""signed: an address that works for a while, for whoever holds it; it goes into no document."""

SIGNED_URL_SECONDS = 3600
MAX_SIGNED_URL_SECONDS = 7 * 24 * 3600
"""What S3's and Google's signatures allow at most."""
UPLOAD_SECONDS = 600
"""How long a presigned upload can be begun."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a store knows about one object."""

    key: str
    size_bytes: int
    content_type: str | None
    sha256: str | None
    """Hex digest, where the store keeps one."""


@dataclass(frozen=True, slots=True)
class PresignedUpload:
    """Permission to put one object straight into the store, without our server in between."""

    method: Literal["POST", "PUT"]
    """POST: a multipart form with `fields` first and the file last, as `file`. PUT: the bare bytes
    with `headers`."""
    url: str = field(repr=False)
    expires_at: datetime
    max_bytes: int
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_size_enforced: bool = True
    """False where the store cannot refuse a larger file itself; `complete` refuses it then."""


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
            data: The whole object, at most `storage.keys.MAX_OBJECT_BYTES`.
            content_type: Media type it will be served with.
            sha256: Hex digest of `data`; checked.

        Raises:
            StorageError: code "object_exists" where other bytes are already there.
        """
        ...

    def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """As `put`, from a file that may be large: one chunk of it is in memory at a time.

        Raises:
            StorageError: code "object_exists", "object_too_large" (`MAX_FILE_BYTES`), or
                "checksum_mismatch" where the file is not what was announced.
        """
        ...

    def read(self, key: str) -> bytes:
        """Give the whole object back.

        Raises:
            StorageError: code "object_missing", or "object_too_large" (use `open`).
        """
        ...

    def open(self, key: str) -> Iterator[bytes]:
        """Give the object chunk by chunk, at most 1 MiB each, whatever its size.

        Closing the iterator early releases the connection. The digest kept with the object is
        compared at the end.

        Raises:
            StorageError: code "object_missing" at the first chunk; "storage_corrupted" at the end
                where the bytes were not those of its digest.
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

    def url(self, key: str, mode: UrlMode | None = None) -> str:
        """The address of an object, made without a network call.

        Args:
            key: Of an object, whether it is there or not.
            mode: None for the store's permanent address, as its settings say: the only one that
                goes into documents. A mode that the store has no address for raises.

        Raises:
            StorageError: code "url_mode_unsupported".
        """
        ...

    def urls(
        self, keys: Iterable[str], mode: UrlMode | None = None, *, expires_seconds: int = ...
    ) -> dict[str, str]:
        """Addresses of many objects at once, by key; likewise without a network call.

        Args:
            keys: Of the objects.
            mode: As for `url`.
            expires_seconds: How long signed ones work, at most `MAX_SIGNED_URL_SECONDS`.
        """
        ...

    def presign_upload(
        self, key: str, *, content_type: str, max_bytes: int, expires_seconds: int = ...
    ) -> PresignedUpload:
        """Permit one upload of exactly this type, from 1 to `max_bytes` bytes, under this key.

        What arrives is trusted as little as anything else: whoever completes the upload validates
        it. Made without a network call.

        Raises:
            StorageError: code "upload_unsupported" where the store takes none from outside.
        """
        ...

    def close(self) -> None:
        """Release connections; the store is not used afterwards."""
        ...


@runtime_checkable
class KeepsUnfinishedUploads(Protocol):
    """A store in which the parts of uploads that died stay, and are paid for, until told to go."""

    def abort_unfinished_uploads(self, *, older_than: timedelta) -> int:
        """Give up the uploads of ours that were begun longer ago than this, and never finished.

        Args:
            older_than: Longer than any upload takes; younger ones may still be going on.

        Returns:
            How many there were.

        Raises:
            StorageError: As of `ObjectStore`; "storage_unsupported" where the server lists none.
        """
        ...
