"""Addresses and permissions of an S3 bucket that work for a while.

Belongs here: presigned reading and uploading. Does not belong here: permanent addresses
(`storage.addresses`).

Uploads are presigned POSTs: their policy holds key, exact type and size. Some servers take no POST
(rclone) or do not look at the sizes; what this one does is found out when the first upload is
permitted, by a form of one byte and another of two where one is the limit. Without POST, an upload
is a presigned PUT: key and type are signed, the size is checked by whoever completes the upload.
"""

import secrets
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from scene_pipeline.errors import StorageError
from scene_pipeline.scenes.identity import DOCTOR_PREFIX
from scene_pipeline.storage.addresses import check_seconds, check_upload, disposition_of
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.base import PresignedUpload
from scene_pipeline.storage.keys import check_key, content_type_of
from scene_pipeline.storage.s3_client import is_aws_endpoint
from scene_pipeline.storage.s3_errors import explained

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

UploadHabit = Literal["enforced", "unenforced", "none"]
"""What a server makes of an upload by POST: it holds the size, it does not, it takes no POST."""

_PROBE_SECONDS = 60


class S3Signer:
    """Signs for a bucket; without a request, once the server's habit is known.

    Args:
        client: From `storage.s3_client.build_s3_client`.
        bucket: The bucket's name.
        prefix: What stands before every key: "" or a text that ends with a slash.
        acl: Canned ACL of uploads, where objects get one.
        reader: To find out what the server makes of uploads; without it, it is taken for AWS.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        prefix: str,
        *,
        acl: str | None = None,
        reader: AnonymousReader | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._acl = acl
        self._reader = reader
        is_known = reader is None or is_aws_endpoint(client.meta.endpoint_url)
        self._habit: UploadHabit | None = "enforced" if is_known else None
        self._probing = threading.Lock()

    def urls(self, keys: Iterable[str], expires_seconds: int) -> dict[str, str]:
        """Addresses at which the objects can be read for a while, by key."""
        seconds = check_seconds(expires_seconds)
        signed = {}
        for key in keys:
            params = {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}
            if disposition := disposition_of(content_type_of(key)):
                params["ResponseContentDisposition"] = disposition
            with explained(self._bucket, key):
                signed[key] = self._client.generate_presigned_url(
                    "get_object", Params=params, ExpiresIn=seconds
                )
        return signed

    def upload(
        self, key: str, *, content_type: str, max_bytes: int, expires_seconds: int
    ) -> PresignedUpload:
        """See `ObjectStore.presign_upload`."""
        check_upload(key, content_type, max_bytes)
        seconds = check_seconds(expires_seconds)
        habit = self.upload_habit()
        if habit == "none":
            return self._put(key, content_type, max_bytes, seconds)
        return self._post(
            key, content_type, max_bytes, seconds, is_size_enforced=habit == "enforced"
        )

    def upload_habit(self) -> UploadHabit:
        """What the server makes of uploads by POST; asked once, by two small objects.

        Raises:
            StorageError: Nobody answers, or the server has a fault; it is asked again next time.
        """
        with self._probing:
            if self._habit is None and self._reader is not None:
                self._habit = self._ask(self._reader)
            return self._habit or "enforced"

    def _ask(self, reader: AnonymousReader) -> UploadHabit:
        # Objects are never overwritten, also not those of a probe: each has a key of its own.
        key = f"{DOCTOR_PREFIX}/upload-{secrets.token_hex(8)}.txt"
        form = self._post(key, "text/plain", 1, _PROBE_SECONDS, is_size_enforced=True)
        try:
            statuses = [reader.submit(form.url, form.fields, data) for data in (b"1", b"12")]
        finally:
            with explained(self._bucket, key):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        permitted, too_large = statuses
        if permitted is None or too_large is None or max(permitted, too_large) in {429, 500, 503}:
            message = f"S3 bucket {self._bucket} does not answer to an upload."
            raise StorageError(message, code="storage_unreachable", retryable=True)
        if permitted >= 300:
            return "none"
        return "enforced" if too_large >= 400 else "unenforced"

    def _post(
        self, key: str, content_type: str, max_bytes: int, seconds: int, *, is_size_enforced: bool
    ) -> PresignedUpload:
        fields = {"Content-Type": content_type, **self._extras(content_type)}
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        conditions.append(["content-length-range", 1, max_bytes])
        with explained(self._bucket, key):
            made = self._client.generate_presigned_post(
                self._bucket,
                self._prefix + key,
                Fields=dict(fields),
                Conditions=conditions,
                ExpiresIn=seconds,
            )
        return PresignedUpload(
            method="POST",
            url=made["url"],
            expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
            max_bytes=max_bytes,
            fields=made["fields"],
            is_size_enforced=is_size_enforced,
        )

    def _put(self, key: str, content_type: str, max_bytes: int, seconds: int) -> PresignedUpload:
        params: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "ContentType": content_type,
        }
        headers = {"Content-Type": content_type}
        if self._acl is not None:
            params["ACL"] = headers["x-amz-acl"] = self._acl
        if disposition := disposition_of(content_type):
            params["ContentDisposition"] = headers["Content-Disposition"] = disposition
        with explained(self._bucket, key):
            url = self._client.generate_presigned_url(
                "put_object", Params=params, ExpiresIn=seconds
            )
        return PresignedUpload(
            method="PUT",
            url=url,
            expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
            max_bytes=max_bytes,
            headers=headers,
            is_size_enforced=False,
        )

    def _extras(self, content_type: str) -> dict[str, str]:
        disposition = disposition_of(content_type)
        return {
            **({"acl": self._acl} if self._acl else {}),
            **({"Content-Disposition": disposition} if disposition else {}),
        }
