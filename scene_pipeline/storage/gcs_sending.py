"""How bytes get into a bucket at Google: in one request, or in pieces.

Belongs here: the upload, and what the server makes of create-only ones. Does not belong here: what
is done before and after (`storage.create_once`).

An upload carries the MD5 and the CRC32C, which Google compares with what it received, the sha256 as
metadata, and `ifGenerationMatch=0`, which makes it create-only; above 8 MiB it is resumable, in
pieces of that size. One that dies costs nothing and is forgotten after a week. Servers that stand
in for Google's and ignore the precondition are found out by two small objects, as with S3.
"""

import hashlib
import threading
from base64 import b64encode
from io import BytesIO
from typing import IO

from scene_pipeline.scenes.identity import DOCTOR_PREFIX
from scene_pipeline.storage.addresses import disposition_of
from scene_pipeline.storage.base import StoredObject
from scene_pipeline.storage.create_once import CreateOnly, asked_create_only
from scene_pipeline.storage.gcs_client import TIMEOUT, GcsAccess
from scene_pipeline.storage.gcs_errors import explained

PIECE_BYTES = 8 * 1024 * 1024
"""Of a resumable upload; one is in memory at a time. A multiple of 256 KiB, as Google asks."""

_CHUNK_BYTES = 1024 * 1024
_PROBE = f"{DOCTOR_PREFIX}/create-only.txt"


class GcsSender:
    """Writes into a bucket.

    Args:
        access: From `storage.gcs_client.build_gcs_access`.
        bucket: The bucket's name.
        prefix: What stands before every key: "" or a text that ends with a slash.
        cache_control: Header kept with each object.
    """

    def __init__(self, access: GcsAccess, bucket: str, prefix: str, cache_control: str) -> None:
        self._bucket = bucket
        self._objects = access.client.bucket(bucket)
        self._prefix = prefix
        self._cache_control = cache_control
        self._create_only: CreateOnly | None = "honoured" if access.is_google else None
        self._probing = threading.Lock()

    def send(self, facts: StoredObject, file: IO[bytes], *, is_conditional: bool) -> None:
        """Write an object, from the beginning of a file; one piece of it is in memory at a time."""
        blob = self._objects.blob(self._prefix + facts.key)
        blob.cache_control = self._cache_control
        blob.content_disposition = disposition_of(facts.content_type or "")
        blob.metadata = {"sha256": facts.sha256 or ""}
        blob.md5_hash = _md5(file)
        blob.chunk_size = PIECE_BYTES if facts.size_bytes > PIECE_BYTES else None
        with explained(self._bucket, facts.key):
            blob.upload_from_file(
                file,
                rewind=True,
                size=facts.size_bytes,
                content_type=facts.content_type,
                if_generation_match=0 if is_conditional else None,
                checksum="crc32c",
                retry=None,
                timeout=TIMEOUT,
            )

    def create_only(self) -> CreateOnly:
        """What the server makes of a create-only write; asked once, by one small object.

        Raises:
            StorageError: The bucket could not be asked; it is asked again next time.
        """
        with self._probing:
            if self._create_only is None:
                self._create_only = asked_create_only(self._probe)
            return self._create_only

    def _probe(self, data: bytes) -> None:
        facts = StoredObject(_PROBE, len(data), "text/plain", hashlib.sha256(data).hexdigest())
        self.send(facts, BytesIO(data), is_conditional=True)


def _md5(file: IO[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    file.seek(0)
    while piece := file.read(_CHUNK_BYTES):
        digest.update(piece)
    return b64encode(digest.digest()).decode()
