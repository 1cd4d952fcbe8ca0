"""Objects in an S3 bucket, at AWS or any server that speaks its protocol.

Belongs here: what is asked of the bucket, and in which order. Does not belong here: how the client
is built (`storage.s3_client`) and what its errors mean (`storage.s3_errors`).

Mode of operation: a PUT carries `Content-MD5` (the check that servers of every make enforce), the
sha256 as metadata and `If-None-Match: *`, which makes it create-only. Servers that ignore that
header are found out once and asked by HEAD beforehand; there two writers of the same key at the
same instant are told apart only by the read-back. Then the object is read back and compared. Up to
25 MB the read-back is a GET: as many requests as a HEAD, proof of the bytes instead of their
description, and at AWS's prices under a hundredth of a cent for a frame that cost more to make.
"""

import hashlib
import threading
from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from scene_pipeline.errors import StorageError
from scene_pipeline.scenes.identity import DOCTOR_PREFIX
from scene_pipeline.storage.base import IMMUTABLE_CACHE_CONTROL, StoredObject, UrlMode
from scene_pipeline.storage.keys import (
    check_key,
    check_object,
    check_prefix,
    check_size,
    foreign_object,
    missing_object,
)
from scene_pipeline.storage.s3_client import is_aws_endpoint
from scene_pipeline.storage.s3_errors import explained

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

READ_BACK_BYTES = 25 * 1024 * 1024
SIGNED_URL_SECONDS = 3600

CreateOnly = Literal["honoured", "ignored", "refused"]
"""What a server makes of `If-None-Match: *`: "refused" servers answer it with an error."""
Verification = Literal["read", "head"]


class S3Store:
    """Objects in a bucket.

    Args:
        client: From `storage.s3_client.build_s3_client`; closed with the store.
        bucket: The bucket's name.
        prefix: Put before every key, without slashes at its ends; "" for none.
        public_base_url: Address that shows the bucket's root (S3_PUBLIC_BASE_URL), for a CDN or a
            domain of one's own; the server's own address where left out.
        acl: Canned ACL sent with each object; none by default, since buckets made after April 2023
            refuse them.
        cache_control: Header kept with each object; right only because keys are named for content.
        verification: "read" compares the bytes, "head" the size and the digest kept beside them.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        *,
        prefix: str = "",
        public_base_url: str | None = None,
        acl: str | None = None,
        cache_control: str = IMMUTABLE_CACHE_CONTROL,
        verification: Verification = "read",
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._public_base_url = public_base_url.rstrip("/") if public_base_url else None
        self._headers = {"CacheControl": cache_control, **({"ACL": acl} if acl else {})}
        self._verification: Verification = verification
        self._endpoint_url = client.meta.endpoint_url
        self._create_only: CreateOnly | None = (
            "honoured" if is_aws_endpoint(self._endpoint_url) else None
        )
        self._probing = threading.Lock()

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    @property
    def prefix(self) -> str:
        """What stands before every key: "" or a text that ends with a slash."""
        return self._prefix

    @property
    def description(self) -> str:
        """See `ObjectStore.description`."""
        where = f"{self._bucket}/{self._prefix}".rstrip("/")
        return f"S3 bucket {where} at {self._endpoint_url}"

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        """See `ObjectStore.put`."""
        check_object(key, data, content_type, sha256)
        facts = StoredObject(
            key=key, size_bytes=len(data), content_type=content_type, sha256=sha256
        )
        create_only = self.create_only()
        if create_only != "honoured" and self.head(key) is not None:
            self._expect_same(facts)
            return facts
        try:
            self._send(key, data, content_type, sha256, is_conditional=create_only != "refused")
        except StorageError as error:
            if error.error_code != "object_exists":
                raise
            # A repetition of our own, or another worker's; both wrote what we want, or it is wrong.
            self._expect_same(facts)
            return facts
        # Looked at twice, so that a fault on the way back does not condemn a sound object.
        if not self._holds(facts) and not self._holds(facts):
            self._give_up(key, is_ours=create_only == "honoured")
        return facts

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`; bytes that differ from the digest kept with them are refused."""
        with explained(self._bucket, check_key(key)):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            check_size(key, answer["ContentLength"])
            with answer["Body"] as body:
                data = body.read()
        expected = _digest_kept_with(answer)
        if expected is not None and hashlib.sha256(data).hexdigest() != expected:
            message = f"{key} came back with other bytes than its own digest says."
            raise StorageError(message, code="storage_corrupted", retryable=True)
        return data

    def head(self, key: str) -> StoredObject | None:
        """See `ObjectStore.head`."""
        try:
            with explained(self._bucket, check_key(key)):
                answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except StorageError as error:
            if error.error_code == "object_missing":
                return None
            raise
        return StoredObject(
            key=key,
            size_bytes=answer["ContentLength"],
            content_type=answer.get("ContentType"),
            sha256=_digest_kept_with(answer),
        )

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
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + check_prefix(prefix)
        )
        with explained(self._bucket, prefix):
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._prefix)
                    yield StoredObject(
                        key=key, size_bytes=found["Size"], content_type=None, sha256=None
                    )

    def url(self, key: str, mode: UrlMode = "public") -> str:
        """See `ObjectStore.url`; "signed" lasts an hour, the others as long as the object."""
        path = self._prefix + check_key(key)
        if mode == "signed":
            return self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": path},
                ExpiresIn=SIGNED_URL_SECONDS,
            )
        if self._public_base_url is not None:
            return f"{self._public_base_url}/{path}"
        endpoint = self._endpoint_url.rstrip("/")
        # The certificate of AWS covers one label before its domain, so none with a dot in it.
        if is_aws_endpoint(endpoint) and "." not in self._bucket:
            return f"https://{self._bucket}.{urlsplit(endpoint).netloc}/{path}"
        return f"{endpoint}/{self._bucket}/{path}"

    def close(self) -> None:
        """See `ObjectStore.close`."""
        self._client.close()

    def create_only(self) -> CreateOnly:
        """What the server makes of a create-only PUT; asked once, by one small object.

        Raises:
            StorageError: The bucket could not be asked; it is asked again next time.
        """
        with self._probing:
            if self._create_only is None:
                self._create_only = self._ask_create_only()
            return self._create_only

    def _ask_create_only(self) -> CreateOnly:
        # The object stays, so that the next process gets its answer by one request and no DELETE
        # permission is needed.
        key = f"{DOCTOR_PREFIX}/create-only.txt"
        try:
            for data in (b"first", b"second"):
                digest = hashlib.sha256(data).hexdigest()
                self._send(key, data, "text/plain", digest, is_conditional=True)
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

    def _send(
        self, key: str, data: bytes, content_type: str, sha256: str, *, is_conditional: bool
    ) -> None:
        headers: dict[str, Any] = dict(self._headers)
        if is_conditional:
            headers["IfNoneMatch"] = "*"
        with explained(self._bucket, key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=data,
                ContentType=content_type,
                ContentMD5=b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
                Metadata={"sha256": sha256},
                **headers,
            )

    def _expect_same(self, facts: StoredObject) -> None:
        if not self._holds(facts):
            raise foreign_object(facts.key)

    def _holds(self, facts: StoredObject) -> bool:
        """Whether the bucket holds these very bytes under this key."""
        if self._verification == "head" or facts.size_bytes > READ_BACK_BYTES:
            found = self.head(facts.key)
            if found is None:
                raise missing_object(facts.key)
            if found.size_bytes != facts.size_bytes:
                return False
            if found.sha256 is not None:
                return found.sha256 == facts.sha256
        try:
            return hashlib.sha256(self.read(facts.key)).hexdigest() == facts.sha256
        except StorageError as error:
            if error.error_code == "storage_corrupted":
                return False
            raise

    def _give_up(self, key: str, *, is_ours: bool) -> None:
        """Our own PUT was accepted and other bytes came back."""
        if not is_ours:
            raise foreign_object(key)
        # Nobody knows of this object yet, and left in place it would refuse every repetition.
        self.delete(key)
        message = f"{key} came back from S3 bucket {self._bucket} with other bytes than were sent."
        raise StorageError(message, code="storage_corrupted", retryable=True)


def _digest_kept_with(answer: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> str | None:
    # Some servers give metadata names back with a capital.
    kept = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
    return kept.get("sha256")
