"""How bytes get into an S3 bucket: in one request, or in parts.

Belongs here: the requests that write, what the server makes of create-only ones, and the parts that
uploads left behind. Does not belong here: what is done before and after (`storage.create_once`).

A PUT carries `Content-MD5` (the check that servers of every make enforce; each part has its own),
the sha256 as metadata and `If-None-Match: *`, which makes it create-only; an upload in parts is
create-only at its completion. Servers that ignore or refuse that header are found out by two small
objects, for either way, when it is first needed. Google's S3 endpoint is one of those: its own
header for it (`x-goog-if-generation-match`) may not stand beside the `x-amz-` ones of a signature.
"""

import hashlib
import threading
from base64 import b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from scene_pipeline.errors import StorageError
from scene_pipeline.scenes.identity import DOCTOR_PREFIX, READABLE_PREFIXES, is_storage_key
from scene_pipeline.scenes.identity.library_keys import UPLOADS_PREFIX
from scene_pipeline.storage.addresses import disposition_of
from scene_pipeline.storage.create_once import CreateOnly, asked_create_only
from scene_pipeline.storage.keys import other_digest
from scene_pipeline.storage.s3_client import is_aws_endpoint
from scene_pipeline.storage.s3_errors import explained

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 8 * 1024 * 1024
"""One part is in memory at a time, and a file up to this size is sent whole. S3 takes parts from
5 MiB on, and at most 10,000 of them: 5 GiB are 640."""

Way = Literal["whole", "parts"]
_PROBES: Mapping[Way, str] = {
    "whole": f"{DOCTOR_PREFIX}/create-only.txt",
    "parts": f"{DOCTOR_PREFIX}/create-only-parts.txt",
}
_OURS = tuple(f"{top}/" for top in (*READABLE_PREFIXES, UPLOADS_PREFIX, DOCTOR_PREFIX))


class _Place(TypedDict):
    Bucket: str
    Key: str


class S3Sender:
    """Writes into a bucket.

    Args:
        client: From `storage.s3_client.build_s3_client`.
        bucket: The bucket's name.
        prefix: What stands before every key: "" or a text that ends with a slash.
        headers: Sent with every object, by boto3's names.
    """

    def __init__(
        self, client: "S3Client", bucket: str, prefix: str, headers: Mapping[str, str]
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._headers = dict(headers)
        self._create_only: dict[Way, CreateOnly] = {}
        self._checksums: dict[str, Any] = {}
        if is_aws_endpoint(client.meta.endpoint_url):
            self._create_only = {"whole": "honoured", "parts": "honoured"}
            # boto3 sends one with each part there, which AWS takes only where it was announced.
            self._checksums = {"ChecksumAlgorithm": "CRC32"}
        self._probing = threading.Lock()

    def send(
        self, key: str, data: bytes, content_type: str, sha256: str, *, is_conditional: bool
    ) -> None:
        """Write an object in one request."""
        with explained(self._bucket, key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=data,
                ContentMD5=_md5(data),
                **self._facts(content_type, sha256),
                **_condition(is_conditional),
            )

    def send_parts(
        self,
        key: str,
        pieces: Iterable[bytes],
        content_type: str,
        sha256: str,
        *,
        is_conditional: bool,
    ) -> None:
        """Write an object in parts; where that fails, its parts are given up.

        Raises:
            StorageError: As the server says; "checksum_mismatch" where the pieces are others than
                were announced.
        """
        place: _Place = {"Bucket": self._bucket, "Key": self._prefix + key}
        with explained(self._bucket, key):
            begun = self._client.create_multipart_upload(
                **place, **self._facts(content_type, sha256), **self._checksums
            )
        upload_id = begun["UploadId"]
        try:
            parts = self._parts(key, pieces, sha256, upload_id)
            with explained(self._bucket, key):
                self._client.complete_multipart_upload(
                    **place,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                    **_condition(is_conditional),
                )
        except BaseException:
            with suppress(StorageError), explained(self._bucket, key):
                self._client.abort_multipart_upload(**place, UploadId=upload_id)
            raise

    def create_only(self, way: Way) -> CreateOnly:
        """What the server makes of create-only writes; asked once, by small objects.

        Raises:
            StorageError: The bucket could not be asked; it is asked again next time.
        """
        with self._probing:
            if way not in self._create_only:
                self._create_only[way] = self._ask_create_only(way)
            return self._create_only[way]

    def abort_unfinished_uploads(self, older_than: timedelta) -> int:
        """See `KeepsUnfinishedUploads`; uploads to keys that are none of ours are left alone."""
        limit = datetime.now(UTC) - older_than
        count = 0
        with explained(self._bucket, self._prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for page in pages:
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] >= limit or not self._is_ours(upload["Key"]):
                        continue
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    count += 1
        return count

    def _is_ours(self, name: str) -> bool:
        key = name.removeprefix(self._prefix)
        return name.startswith(self._prefix) and key.startswith(_OURS) and is_storage_key(key)

    def _parts(
        self, key: str, pieces: Iterable[bytes], sha256: str, upload_id: str
    ) -> "list[CompletedPartTypeDef]":
        parts: list[CompletedPartTypeDef] = []
        digest = hashlib.sha256()
        for number, data in enumerate(pieces, 1):
            digest.update(data)
            with explained(self._bucket, key):
                sent = self._client.upload_part(
                    Bucket=self._bucket,
                    Key=self._prefix + key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=data,
                    ContentMD5=_md5(data),
                    **self._checksums,
                )
            part: CompletedPartTypeDef = {"PartNumber": number, "ETag": sent["ETag"]}
            if "ChecksumCRC32" in sent:
                # What was announced must be named again at completion.
                part["ChecksumCRC32"] = sent["ChecksumCRC32"]
            parts.append(part)
        if digest.hexdigest() != sha256:
            raise other_digest(key)
        return parts

    def _facts(self, content_type: str, sha256: str) -> dict[str, Any]:
        disposition = disposition_of(content_type)
        return {
            **self._headers,
            "ContentType": content_type,
            "Metadata": {"sha256": sha256},
            **({"ContentDisposition": disposition} if disposition else {}),
        }

    def _ask_create_only(self, way: Way) -> CreateOnly:
        # The object stays, so that the next process gets its answer by one request and no DELETE
        # permission is needed.
        key = _PROBES[way]

        def send(data: bytes) -> None:
            digest = hashlib.sha256(data).hexdigest()
            if way == "whole":
                self.send(key, data, "text/plain", digest, is_conditional=True)
            else:
                self.send_parts(key, (data,), "text/plain", digest, is_conditional=True)

        return asked_create_only(send)


def _condition(is_conditional: bool) -> dict[str, Any]:
    return {"IfNoneMatch": "*"} if is_conditional else {}


def _md5(data: bytes) -> str:
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
