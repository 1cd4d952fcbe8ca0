"""Objects in a bucket of Google Cloud Storage.

Belongs here: what is asked of the bucket, and in which order. Does not belong here: addresses
(`storage.buckets`), how bytes are sent (`storage.gcs_sending`) and once only
(`storage.create_once`), what is signed (`storage.gcs_signing`), how the client is built
(`storage.gcs_client`) and what its errors mean (`storage.gcs_errors`).

Google compares the digests of what it receives, so an object is looked at afterwards by its
description alone.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.addresses import BucketAddresses
from scene_pipeline.storage.base import IMMUTABLE_CACHE_CONTROL, PermanentMode, StoredObject
from scene_pipeline.storage.buckets import BucketStore, slashed
from scene_pipeline.storage.create_once import CreateOnly, create_once
from scene_pipeline.storage.gcs_client import TIMEOUT, GcsAccess
from scene_pipeline.storage.gcs_errors import explained
from scene_pipeline.storage.gcs_sending import GcsSender
from scene_pipeline.storage.gcs_signing import GcsSigner
from scene_pipeline.storage.keys import (
    check_file,
    check_key,
    check_object,
    check_prefix,
    check_size,
    corrupted_object,
    unreadable_file,
)

if TYPE_CHECKING:
    from google.cloud.storage import Blob  # type: ignore[import-untyped]  # Google ships no types

BY_DESCRIPTION = -1
"""No object is read back: see above."""

_CHUNK_BYTES = 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024
"""What one request of `open` asks for, and what it holds in memory."""


class GcsStore(BucketStore):
    """Objects in a bucket.

    Args:
        access: From `storage.gcs_client.build_gcs_access`; closed with the store.
        bucket: The bucket's name.
        prefix: Put before every key, without slashes at its ends; "" for none.
        public_base_url: Address that shows the bucket's root, for a CDN.
        server_url: Our own server's address, for the gateway.
        permanent: What goes into documents; cdn where there is one, else public, if left out.
        cache_control: Header kept with each object; right only because keys are named for content.
    """

    def __init__(
        self,
        access: GcsAccess,
        bucket: str,
        *,
        prefix: str = "",
        public_base_url: str | None = None,
        server_url: str | None = None,
        permanent: PermanentMode | None = None,
        cache_control: str = IMMUTABLE_CACHE_CONTROL,
    ) -> None:
        addresses = BucketAddresses(
            public=f"{access.endpoint_url}/{bucket}",
            prefix=slashed(prefix),
            cdn=public_base_url.rstrip("/") if public_base_url else None,
            server=server_url,
            mode=permanent,
        )
        super().__init__(bucket, addresses, GcsSigner(access, bucket, addresses.prefix))
        self._access = access
        self._objects = access.client.bucket(bucket)
        self._sender = GcsSender(access, bucket, self._prefix, cache_control)

    @property
    def description(self) -> str:
        """See `ObjectStore.description`."""
        return f"GCS bucket {self.place} at {self._access.endpoint_url}"

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put`."""
        check_object(key, data, content_type, sha256)
        return self._create(StoredObject(key, len(data), content_type, sha256), BytesIO(data))

    def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put_file`."""
        size_bytes = check_file(key, path, content_type, sha256)
        try:
            with path.open("rb") as file:
                return self._create(StoredObject(key, size_bytes, content_type, sha256), file)
        except OSError as error:
            raise unreadable_file(path, error) from error

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`; bytes that differ from the digest kept with them are refused."""
        with explained(self._bucket, check_key(key)):
            blob = self._described(key)
            check_size(key, int(blob.size or 0))
            data: bytes = blob.download_as_bytes(
                raw_download=True, if_generation_match=blob.generation, retry=None, timeout=TIMEOUT
            )
        if _digest_kept_with(blob) not in {None, hashlib.sha256(data).hexdigest()}:
            raise corrupted_object(key)
        return data

    def open(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore.open`; one request for every 4 MiB, all of the same generation."""
        return self._chunks(check_key(key))

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore.head`."""
        try:
            with explained(self._bucket, check_key(key)):
                return _facts(key, self._described(key))
        except StorageError as error:
            if error.error_code == "object_missing":
                return None
            raise

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        try:
            with explained(self._bucket, check_key(key)):
                self._blob(key).delete(retry=None, timeout=TIMEOUT)
        except StorageError as error:
            if error.error_code != "object_missing":
                raise

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore.list`; in the order of the keys, with types and digests."""
        with explained(self._bucket, check_prefix(prefix)):
            for blob in self._access.client.list_blobs(
                self._objects,
                prefix=self._prefix + prefix,
                fields="items(name,size,contentType,metadata),nextPageToken",
                retry=None,
                timeout=TIMEOUT,
            ):
                yield _facts(blob.name.removeprefix(self._prefix), blob)

    def close(self) -> None:
        """See `ObjectStore.close`."""
        self._access.client.close()

    def create_only(self) -> CreateOnly:
        """What the server makes of a create-only write; asked once, by one small object.

        Raises:
            StorageError: The bucket could not be asked; it is asked again next time.
        """
        return self._sender.create_only()

    def _create(self, facts: StoredObject, file: IO[bytes]) -> StoredObject:
        return create_once(
            self,
            facts,
            lambda is_conditional: self._sender.send(facts, file, is_conditional=is_conditional),
            create_only=self.create_only(),
            read_back_bytes=BY_DESCRIPTION,
        )

    def _chunks(self, key: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with explained(self._bucket, key):
            blob = self._described(key)
            reader = blob.open(
                "rb",
                chunk_size=_PIECE_BYTES,
                raw_download=True,
                if_generation_match=blob.generation,
                retry=None,
                timeout=TIMEOUT,
            )
            left = int(blob.size or 0)
            with closing(reader):
                while left > 0 and (chunk := reader.read(min(left, _CHUNK_BYTES))):
                    left -= len(chunk)
                    digest.update(chunk)
                    yield chunk
        if left or _digest_kept_with(blob) not in {None, digest.hexdigest()}:
            raise corrupted_object(key)

    def _blob(self, key: str) -> "Blob":
        return self._objects.blob(self._prefix + key)

    def _described(self, key: str) -> "Blob":
        blob = self._blob(key)
        blob.reload(retry=None, timeout=TIMEOUT)
        return blob


def _facts(key: str, blob: "Blob") -> StoredObject:
    return StoredObject(key, int(blob.size or 0), blob.content_type, _digest_kept_with(blob))


def _digest_kept_with(blob: "Blob") -> str | None:
    kept: str | None = (blob.metadata or {}).get("sha256")
    return kept
