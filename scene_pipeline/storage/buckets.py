"""The half of an `ObjectStore` that is the same for every bucket: its name, addresses, permits.

Belongs here: what is made of settings and keys alone, without a request. Does not belong here: what
is asked of a bucket (`storage.s3`, `storage.gcs`), how a signature is made (`storage.s3_signing`,
`storage.gcs_signing`).
"""

from collections.abc import Iterable
from typing import Protocol

from scene_pipeline.storage.addresses import BucketAddresses
from scene_pipeline.storage.base import (
    SIGNED_URL_SECONDS,
    UPLOAD_SECONDS,
    PermanentMode,
    PresignedUpload,
    UrlMode,
)


class BucketSigner(Protocol):
    """Signs for a bucket."""

    def urls(self, keys: Iterable[str], expires_seconds: int) -> dict[str, str]:
        """Addresses that work for a while, by key."""
        ...

    def upload(
        self, key: str, *, content_type: str, max_bytes: int, expires_seconds: int
    ) -> PresignedUpload:
        """See `ObjectStore.presign_upload`."""
        ...


class BucketStore:
    """Addresses and permits of a bucket.

    Args:
        bucket: The bucket's name.
        addresses: Its permanent ones, with the prefix of every key.
        signer: For those that end, and for uploads.
    """

    def __init__(self, bucket: str, addresses: BucketAddresses, signer: BucketSigner) -> None:
        self._bucket = bucket
        self._prefix = addresses.prefix
        self._addresses = addresses
        self._signs = signer

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    @property
    def prefix(self) -> str:
        """What stands before every key: "" or a text that ends with a slash."""
        return self._prefix

    @property
    def place(self) -> str:
        """Bucket and prefix, for people."""
        return f"{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def permanent_mode(self) -> PermanentMode:
        """What goes into documents."""
        return self._addresses.permanent_mode

    def url(self, key: str, mode: UrlMode | None = None) -> str:
        """See `ObjectStore.url`; "signed" lasts an hour, the others as long as the object."""
        return self.urls((key,), mode)[key]

    def urls(
        self,
        keys: Iterable[str],
        mode: UrlMode | None = None,
        *,
        expires_seconds: int = SIGNED_URL_SECONDS,
    ) -> dict[str, str]:
        """See `ObjectStore.urls`; Google signs with a service account's key alone."""
        if mode == "signed":
            return self._signs.urls(keys, expires_seconds)
        return {key: self._addresses.permanent(key, mode) for key in keys}

    def presign_upload(
        self,
        key: str,
        *,
        content_type: str,
        max_bytes: int,
        expires_seconds: int = UPLOAD_SECONDS,
    ) -> PresignedUpload:
        """See `ObjectStore.presign_upload`.

        The first one asks a foreign S3 server what it takes; Google needs a service account's key.
        """
        return self._signs.upload(
            key, content_type=content_type, max_bytes=max_bytes, expires_seconds=expires_seconds
        )


def slashed(prefix: str) -> str:
    """A prefix of keys as it stands before them: "", or a text that ends with its only slash."""
    return f"{prefix.strip('/')}/" if prefix.strip("/") else ""
