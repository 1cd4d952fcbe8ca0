"""An inbox that is a prefix of a bucket.

Belongs here: listing, reading and writing a few objects within a tick's time. Does not belong here:
what they say, and how frames are kept (`storage.s3`).

Objects appear whole, so that none is ever half-written; an entity tag tells one content from
another.
"""

import base64
import hashlib
import secrets
from contextlib import closing
from typing import TYPE_CHECKING

from scene_pipeline.errors import StorageError, UsageError
from scene_pipeline.pipeline.inbox.sources import (
    MAX_FILES,
    NOT_OURS,
    Deadline,
    InboxEntry,
    Listing,
    is_document_name,
    named,
)
from scene_pipeline.scenes.json_text import MAX_DOCUMENT_BYTES
from scene_pipeline.storage.s3_errors import explained

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

READ_SECONDS = 10.0
"""The longest one object may take, however steadily it trickles in."""

_CHUNK_BYTES = 256 * 1024
_DIGEST_NAME = "scene-pipeline-sha256"


class BucketInbox:
    """Documents under a prefix of a bucket, in no folder below it.

    Args:
        client: Closed with the inbox.
        bucket: The bucket's name.
        prefix: Without slashes at its ends; "" for the bucket itself.
        read_seconds: The longest one object may take.
    """

    def __init__(
        self, client: "S3Client", bucket: str, prefix: str, read_seconds: float = READ_SECONDS
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._read_seconds = read_seconds

    @property
    def address(self) -> str:
        """See `InboxSource.address`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def list(self, deadline: Deadline) -> Listing:
        """See `InboxSource.list`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
        )
        entries: list[InboxEntry] = []
        with explained(self._bucket, self._prefix or "listing"):
            for page in pages:
                for found in page.get("Contents", []):
                    name = found["Key"].removeprefix(self._prefix)
                    if is_document_name(name):
                        path, obstacle = named(name)
                        fingerprint = f"{found['ETag']}:{found['Size']}"
                        entries.append(
                            InboxEntry(path, fingerprint, found["Size"], float("inf"), obstacle)
                        )
                if page.get("IsTruncated") and (len(entries) >= MAX_FILES or deadline.is_over):
                    return Listing(tuple(entries), is_complete=False)
        return Listing(tuple(entries), is_complete=True)

    def read(self, entry: InboxEntry) -> bytes | None:
        """See `InboxSource.read`."""
        try:
            with explained(self._bucket, self._prefix + entry.path):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + entry.path)
                with closing(answer["Body"]) as body:
                    if f"{answer['ETag']}:{answer['ContentLength']}" != entry.fingerprint:
                        return None
                    return self._read_bounded(body, entry.path)
        except StorageError as error:
            if error.error_code == "object_missing":
                return None
            raise _of_one_object(error) from error

    def origin(self, path: str) -> str:
        """See `InboxSource.origin`."""
        return f"s3://{self._bucket}/{self._prefix}{path}"

    def output_digest(self, name: str) -> str | None:
        """See `InboxSource.output_digest`; an object of ours carries its digest."""
        try:
            with explained(self._bucket, self._prefix + name):
                answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)
        except StorageError as error:
            if error.error_code == "object_missing":
                return None
            raise _of_one_object(error) from error
        # Some servers give metadata names back with capitals.
        kept = {key.lower(): value for key, value in answer.get("Metadata", {}).items()}
        return kept.get(_DIGEST_NAME, NOT_OURS)

    def write_output(self, name: str, data: bytes, sha256: str) -> None:
        """See `InboxSource.write_output`."""
        checksum = hashlib.md5(data, usedforsecurity=False).digest()
        try:
            with explained(self._bucket, self._prefix + name):
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=data,
                    ContentType="application/json",
                    ContentMD5=base64.b64encode(checksum).decode("ascii"),
                    CacheControl="no-cache",
                    Metadata={_DIGEST_NAME: sha256},
                )
        except StorageError as error:
            raise _of_one_object(error) from error

    def probe(self) -> None:
        """See `InboxSource.probe`."""
        key = f"{self._prefix}.scene-pipeline-{secrets.token_hex(8)}.part"
        try:
            with explained(self._bucket, self._prefix or "listing"):
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
            with explained(self._bucket, key):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=b"")
                self._client.delete_object(Bucket=self._bucket, Key=key)
        except StorageError as error:
            raise _of_one_object(error) from error

    def close(self) -> None:
        """See `InboxSource.close`."""
        self._client.close()

    def _read_bounded(self, body: "StreamingBody", path: str) -> bytes | None:
        deadline = Deadline(self._read_seconds)
        chunks: list[bytes] = []
        total = 0
        while chunk := body.read(_CHUNK_BYTES):
            total += len(chunk)
            if total > MAX_DOCUMENT_BYTES:
                return None
            if deadline.is_over:
                raise StorageError(
                    f"S3 bucket {self._bucket} took longer than {self._read_seconds:g} s to send"
                    f" {self._prefix}{path}.",
                    code="storage_slow",
                    retryable=True,
                )
            chunks.append(chunk)
        return b"".join(chunks)


def _of_one_object(error: StorageError) -> Exception:
    """A refusal that another try would meet again is told of the object; the rest ends the tick."""
    if error.retryable:
        return error
    return UsageError(error.message, code=error.error_code, next_action=error.next_action)
