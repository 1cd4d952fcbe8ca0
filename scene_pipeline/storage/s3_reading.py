"""How bytes and facts come out of an S3 bucket.

Belongs here: the requests that read, and the comparison with the digest kept beside an object. Does
not belong here: writing (`storage.s3_sending`), and checks of keys, which the store has done.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import StoredObject
from scene_pipeline.storage.keys import check_size, corrupted_object
from scene_pipeline.storage.s3_errors import explained

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

_CHUNK_BYTES = 1024 * 1024


class S3Reader:
    """Reads from a bucket.

    Args:
        client: From `storage.s3_client.build_s3_client`.
        bucket: The bucket's name.
        prefix: What stands before every key: "" or a text that ends with a slash.
    """

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def read(self, key: str) -> bytes:
        """The whole object; see `ObjectStore.read`."""
        with explained(self._bucket, key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            with closing(answer["Body"]) as body:
                check_size(key, answer["ContentLength"])
                data = body.read()
        if _digest_kept_with(answer) not in {None, hashlib.sha256(data).hexdigest()}:
            raise corrupted_object(key)
        return data

    def chunks(self, key: str) -> Iterator[bytes]:
        """The object chunk by chunk; see `ObjectStore.open`."""
        digest = hashlib.sha256()
        with explained(self._bucket, key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            with closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    digest.update(chunk)
                    yield chunk
        if _digest_kept_with(answer) not in {None, digest.hexdigest()}:
            raise corrupted_object(key)

    def head(self, key: str) -> StoredObject | None:
        """Facts about an object, or None where there is none."""
        try:
            with explained(self._bucket, key):
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

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts so, page by page."""
        with explained(self._bucket, prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._prefix)
                    yield StoredObject(
                        key=key, size_bytes=found["Size"], content_type=None, sha256=None
                    )


def _digest_kept_with(answer: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> str | None:
    # Some servers give metadata names back with a capital.
    kept = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
    return kept.get("sha256")
