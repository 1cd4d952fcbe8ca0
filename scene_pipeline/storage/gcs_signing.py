"""Addresses and permissions of a bucket at Google that work for a while.

Belongs here: signed reading and uploading. Does not belong here: permanent addresses
(`storage.addresses`). Signing needs a service account's key and no request: credentials without a
key (of a machine at Google) could have Google sign, at one request for each address.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.addresses import check_seconds, check_upload, disposition_of
from scene_pipeline.storage.base import PresignedUpload
from scene_pipeline.storage.gcs_client import GcsAccess
from scene_pipeline.storage.gcs_errors import explained
from scene_pipeline.storage.keys import check_key, content_type_of

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


class GcsSigner:
    """Signs for a bucket (V4), without a request.

    Args:
        access: From `storage.gcs_client.build_gcs_access`.
        bucket: The bucket's name.
        prefix: What stands before every key: "" or a text that ends with a slash.
    """

    def __init__(self, access: GcsAccess, bucket: str, prefix: str) -> None:
        self._access = access
        self._bucket = bucket
        self._objects = access.client.bucket(bucket)
        self._prefix = prefix

    def urls(self, keys: Iterable[str], expires_seconds: int) -> dict[str, str]:
        """Addresses at which the objects can be read for a while, by key.

        Raises:
            StorageError: code "url_mode_unsupported" without a key to sign with.
        """
        lasting = timedelta(seconds=check_seconds(expires_seconds))
        signed = {}
        for key in keys:
            blob = self._objects.blob(self._prefix + check_key(key))
            with explained(self._bucket, key):
                signed[key] = str(
                    blob.generate_signed_url(
                        version="v4",
                        expiration=lasting,
                        method="GET",
                        api_access_endpoint=self._access.endpoint_url,
                        response_disposition=disposition_of(content_type_of(key)),
                        credentials=self._key("url_mode_unsupported"),
                    )
                )
        return signed

    def upload(
        self, key: str, *, content_type: str, max_bytes: int, expires_seconds: int
    ) -> PresignedUpload:
        """See `ObjectStore.presign_upload`; a POST whose policy holds key, type and size.

        Raises:
            StorageError: Also "upload_unsupported" without a key to sign with.
        """
        check_upload(key, content_type, max_bytes)
        lasting = timedelta(seconds=check_seconds(expires_seconds))
        disposition = disposition_of(content_type)
        fields = {"Content-Type": content_type}
        if disposition is not None:
            fields["Content-Disposition"] = disposition
        with explained(self._bucket, key):
            made: dict[str, Any] = self._access.client.generate_signed_post_policy_v4(
                self._bucket,
                self._prefix + key,
                lasting,
                conditions=[["content-length-range", 1, max_bytes]],
                fields=fields,
                credentials=self._key("upload_unsupported"),
            )
        return PresignedUpload(
            method="POST",
            url=made["url"],
            expires_at=datetime.now(UTC) + lasting,
            max_bytes=max_bytes,
            fields=made["fields"],
        )

    def _key(self, code: str) -> "Credentials":
        if self._access.signer is None:
            raise StorageError(
                "These credentials cannot sign: there is no private key among them.",
                code=code,
                next_action="Set GCS_SERVICE_ACCOUNT_JSON to a service account's key.",
            )
        return self._access.signer
