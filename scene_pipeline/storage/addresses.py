"""Permanent addresses of what lies in a bucket, the gateway's, and the bounds of what is signed.

Belongs here: which base address stands before a key in which mode, for every store that keeps a
bucket, and the bounds that are the same for all stores. Does not belong here: how a signature is
made (`storage.s3_signing`, `storage.gcs_signing`), and the addresses of what our own server shows
(`storage.served`).
"""

from dataclasses import dataclass

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import MAX_SIGNED_URL_SECONDS, PermanentMode, UrlMode
from scene_pipeline.storage.keys import INLINE_TYPES, MAX_FILE_BYTES, check_key, check_type

ATTACHMENT = "attachment"
"""Content-Disposition of whatever a browser must not show in place."""

MEDIA_PATH = "/media/"
"""The gateway: where our own server redirects to a fresh signed address, whichever the store."""


@dataclass(frozen=True, slots=True)
class BucketAddresses:
    """The base addresses of a bucket, without slashes at their ends.

    Attributes:
        public: The store's own address of the bucket.
        prefix: What stands before every key in the bucket: "" or a text that ends with a slash.
        cdn: Shows the bucket's root too; None where there is none.
        server: Our own server's, for the gateway; None where there is none.
        mode: What goes into documents; None for cdn where there is one, else public.
    """

    public: str
    prefix: str = ""
    cdn: str | None = None
    server: str | None = None
    mode: PermanentMode | None = None

    @property
    def permanent_mode(self) -> PermanentMode:
        """What goes into documents."""
        return self.mode or ("public" if self.cdn is None else "cdn")

    def permanent(self, key: str, mode: PermanentMode | None = None) -> str:
        """The address of an object that never changes and never ends.

        Raises:
            StorageError: code "key_invalid", or "url_mode_unsupported" where there is no such base.
        """
        check_key(key)
        wanted = mode or self.permanent_mode
        if wanted == "gateway" and self.server is not None:
            return gateway_url(self.server, key)
        base = {"public": self.public, "cdn": self.cdn}.get(wanted)
        if base is None:
            raise unsupported_mode(wanted)
        return f"{base}/{self.prefix}{key}"


def gateway_url(public_base_url: str, key: str) -> str:
    """The stable address that redirects to a fresh signed one, of any store."""
    return f"{public_base_url.rstrip('/')}{MEDIA_PATH}{check_key(key)}"


def unsupported_mode(mode: UrlMode) -> StorageError:
    """The error of asking for an address that a store cannot give."""
    return StorageError(
        f"This store has no {mode} addresses.",
        code="url_mode_unsupported",
        next_action="See SCENE_PIPELINE_URL_MODE in .env.example.",
    )


def disposition_of(content_type: str) -> str | None:
    """The Content-Disposition that an object of this type needs; None for those shown in place."""
    return None if content_type in INLINE_TYPES else ATTACHMENT


def check_seconds(expires_seconds: int) -> int:
    """Give back for how long something is signed, where services allow that.

    Raises:
        StorageError: code "expiry_invalid".
    """
    if not 1 <= expires_seconds <= MAX_SIGNED_URL_SECONDS:
        message = (
            f"Nothing can be signed for {expires_seconds} s; 1 to {MAX_SIGNED_URL_SECONDS} are."
        )
        raise StorageError(message, code="expiry_invalid")
    return expires_seconds


def check_upload(
    key: str, content_type: str, max_bytes: int, *, limit: int = MAX_FILE_BYTES
) -> None:
    """Check what is to be permitted to somebody outside.

    Args:
        key: Where it would be stored.
        content_type: The only type that is permitted.
        max_bytes: The most that is permitted.
        limit: The most that this store takes.

    Raises:
        StorageError: code "key_invalid", "content_type_mismatch" or "object_too_large".
    """
    check_type(check_key(key), content_type)
    if not 1 <= max_bytes <= limit:
        message = f"An upload of {max_bytes} bytes is not permitted; 1 to {limit} are."
        raise StorageError(message, code="object_too_large")
