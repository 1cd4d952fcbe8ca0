"""Objects in an S3 bucket, at AWS or any server that speaks its protocol.

Belongs here: what is asked of the bucket, and in which order. Does not belong here: addresses
(`storage.buckets`), how bytes are read (`storage.s3_reading`), sent (`storage.s3_sending`) and once
only (`storage.create_once`), what is signed (`storage.s3_signing`), how the client is built
(`storage.s3_client`) and what its errors mean (`storage.s3_errors`).

Up to 25 MB an object is read back by a GET after it was written: as many requests as a HEAD, proof
of the bytes instead of their description, and at AWS's prices under a hundredth of a cent for a
frame that cost more to make.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.addresses import BucketAddresses
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.base import (
    IMMUTABLE_CACHE_CONTROL,
    PermanentMode,
    StoredObject,
)
from scene_pipeline.storage.buckets import BucketStore, slashed
from scene_pipeline.storage.create_once import CreateOnly, create_once
from scene_pipeline.storage.files import pieces_of
from scene_pipeline.storage.keys import (
    check_file,
    check_key,
    check_object,
    check_prefix,
    unreadable_file,
)
from scene_pipeline.storage.s3_client import is_aws_endpoint
from scene_pipeline.storage.s3_errors import explained
from scene_pipeline.storage.s3_reading import S3Reader
from scene_pipeline.storage.s3_sending import PART_BYTES, S3Sender
from scene_pipeline.storage.s3_signing import S3Signer, UploadHabit

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READ_BACK_BYTES = 25 * 1024 * 1024

Verification = Literal["read", "head"]


class S3Store(BucketStore):
    """Objects in a bucket.

    Args:
        client: From `storage.s3_client.build_s3_client`; closed with the store.
        bucket: The bucket's name.
        prefix: Put before every key, without slashes at its ends; "" for none.
        public_base_url: Address that shows the bucket's root (S3_PUBLIC_BASE_URL), for a CDN or a
            domain of one's own.
        server_url: Our own server's address, for the gateway.
        permanent: What goes into documents; cdn where there is one, else public, if left out.
        acl: Canned ACL sent with each object; none by default, since buckets made after April 2023
            refuse them.
        cache_control: Header kept with each object; right only because keys are named for content.
        verification: "read" compares the bytes, "head" the size and the digest kept beside them.
        reader: To find out what the server makes of uploads from outside.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        *,
        prefix: str = "",
        public_base_url: str | None = None,
        server_url: str | None = None,
        permanent: PermanentMode | None = None,
        acl: str | None = None,
        cache_control: str = IMMUTABLE_CACHE_CONTROL,
        verification: Verification = "read",
        reader: AnonymousReader | None = None,
    ) -> None:
        addresses = BucketAddresses(
            public=_bucket_url(client.meta.endpoint_url, bucket),
            prefix=slashed(prefix),
            cdn=public_base_url.rstrip("/") if public_base_url else None,
            server=server_url,
            mode=permanent,
        )
        self._signer = S3Signer(client, bucket, addresses.prefix, acl=acl, reader=reader)
        super().__init__(bucket, addresses, self._signer)
        self._client = client
        self._endpoint_url = client.meta.endpoint_url
        self._read_back_bytes = READ_BACK_BYTES if verification == "read" else -1
        headers = {"CacheControl": cache_control, **({"ACL": acl} if acl else {})}
        self._reader = S3Reader(client, bucket, self._prefix)
        self._sender = S3Sender(client, bucket, self._prefix, headers)

    @property
    def description(self) -> str:
        """See `ObjectStore.description`."""
        return f"S3 bucket {self.place} at {self._endpoint_url}"

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put`."""
        check_object(key, data, content_type, sha256)
        facts = StoredObject(
            key=key, size_bytes=len(data), content_type=content_type, sha256=sha256
        )
        return create_once(
            self,
            facts,
            lambda is_conditional: self._sender.send(
                key, data, content_type, sha256, is_conditional=is_conditional
            ),
            create_only=self.create_only(),
            read_back_bytes=self._read_back_bytes,
        )

    def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put_file`; files above 8 MiB go in parts of that size."""
        size_bytes = check_file(key, path, content_type, sha256)
        try:
            if size_bytes <= PART_BYTES:
                data = path.read_bytes()
                return self.put(key, data, content_type=content_type, sha256=sha256)
            facts = StoredObject(key, size_bytes, content_type, sha256)
            return create_once(
                self,
                facts,
                lambda is_conditional: self._sender.send_parts(
                    key,
                    pieces_of(path, PART_BYTES),
                    content_type,
                    sha256,
                    is_conditional=is_conditional,
                ),
                create_only=self._sender.create_only("parts"),
                read_back_bytes=self._read_back_bytes,
            )
        except OSError as error:
            raise unreadable_file(path, error) from error

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`; bytes that differ from the digest kept with them are refused."""
        return self._reader.read(check_key(key))

    def open(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore.open`."""
        return self._reader.chunks(check_key(key))

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore.head`."""
        return self._reader.head(check_key(key))

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        try:
            with explained(self._bucket, check_key(key)):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        except StorageError as error:
            if error.error_code != "object_missing":
                raise

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore.list`; in the server's order, without types and digests.

        AWS lists in key order. Servers that keep folders (SeaweedFS) list "a/b" before "a-b".
        """
        return self._reader.list(check_prefix(prefix))

    def close(self) -> None:
        """See `ObjectStore.close`."""
        self._client.close()

    def create_only(self) -> CreateOnly:
        """What the server makes of a create-only PUT; asked once, by one small object.

        Raises:
            StorageError: The bucket could not be asked; it is asked again next time.
        """
        return self._sender.create_only("whole")

    def upload_habit(self) -> UploadHabit:
        """What the server makes of uploads by POST; see `S3Signer.upload_habit`."""
        return self._signer.upload_habit()

    def abort_unfinished_uploads(self, *, older_than: timedelta) -> int:
        """See `KeepsUnfinishedUploads`."""
        return self._sender.abort_unfinished_uploads(older_than)

    def removes_unfinished_uploads(self) -> bool:
        """Whether the bucket itself gives up uploads that were never finished, by a rule.

        Raises:
            StorageError: The server does not tell.
        """
        try:
            with explained(self._bucket, "lifecycle"):
                answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except StorageError as error:
            if error.error_code == "object_missing":
                return False
            raise
        return any(
            rule["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in rule
            for rule in answer.get("Rules", [])
        )


def _bucket_url(endpoint_url: str, bucket: str) -> str:
    endpoint = endpoint_url.rstrip("/")
    # The certificate of AWS covers one label before its domain, so none with a dot in it.
    if is_aws_endpoint(endpoint) and "." not in bucket:
        return f"https://{bucket}.{urlsplit(endpoint).netloc}"
    return f"{endpoint}/{bucket}"
