"""Stores whose objects our own server shows: their addresses, and what the server asks of them.

Belongs here: the form of our addresses and the seam between store and server. Does not belong here:
HTTP (`scene_pipeline.api`), signatures (`storage.signing`) and where bytes lie.

Under `/frames/<key>` an object is shown to everybody, or, where the permanent addresses are those
of the gateway, to whoever has a signed one. Under `/uploads/<key>` one upload is taken by a signed
address. `/media/<key>` is the gateway, which exists before every other store too.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.scenes.identity import UPLOADS_PREFIX
from scene_pipeline.settings import Settings
from scene_pipeline.storage.addresses import (
    check_seconds,
    check_upload,
    gateway_url,
    unsupported_mode,
)
from scene_pipeline.storage.base import (
    SIGNED_URL_SECONDS,
    UPLOAD_SECONDS,
    PresignedUpload,
    StoredObject,
    UrlMode,
)
from scene_pipeline.storage.keys import MAX_FILE_BYTES, check_key
from scene_pipeline.storage.signing import Signer

FRAMES_PATH = "/frames/"
"""Where our server shows the keys of a store of its own, below the public URL."""
UPLOADS_PATH = "/uploads/"
"""Where it takes what was permitted to be uploaded."""
ServedMode = Literal["public", "gateway"]

_LIMIT = re.compile(r"[1-9]\d{0,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServedFacts:
    """What a server must know of an object before it sends it."""

    size_bytes: int
    version: str
    """Another one for other bytes; of characters that may stand in an `ETag`."""


@dataclass(frozen=True, slots=True)
class UploadPermit:
    """What a signed upload address permits."""

    content_type: str
    max_bytes: int


class Incoming(ABC):
    """An upload under way: nothing of it is an object before `keep`, and nothing after `discard`.

    Every method raises `StorageError` where the place of the bytes refuses.
    """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Add what has arrived."""

    @abstractmethod
    def keep(self) -> StoredObject:
        """Make it an object, for good.

        Raises:
            StorageError: code "object_exists" where the key is taken, by whatever bytes.
        """

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing behind; after `keep` this changes nothing. Never raises."""


class ServedStore(ABC):
    """The half of an `ObjectStore` that our own server stands behind.

    Args:
        public_base_url: Address of our server (SCENE_PIPELINE_PUBLIC_URL).
        permanent: What goes into documents; "gateway" closes `/frames/` to unsigned readers.
        signer: For signed addresses and uploads; there are none without it.
        max_upload_bytes: The most that one upload may have.
    """

    def __init__(
        self,
        public_base_url: str,
        *,
        permanent: ServedMode = "public",
        signer: Signer | None = None,
        max_upload_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        self._public_base_url = public_base_url.rstrip("/")
        self._permanent: ServedMode = permanent
        self._signer = signer
        self._max_upload_bytes = max_upload_bytes

    @property
    def permanent_mode(self) -> ServedMode:
        """What goes into documents."""
        return self._permanent

    @abstractmethod
    def served(self, key: str) -> ServedFacts:
        """Look at an object that is to be sent.

        Raises:
            StorageError: code "object_missing" or "key_invalid".
        """

    @abstractmethod
    def part(self, key: str, first: int, size_bytes: int) -> Iterator[bytes]:
        """Give a part of an object chunk by chunk, for a reader that may be slow.

        Nothing scarce is held between two chunks. It ends early where the object does.
        """

    @abstractmethod
    def receive(self, key: str) -> Incoming:
        """Begin an upload.

        Raises:
            StorageError: code "object_exists" where the key is taken already.
        """

    def url(self, key: str, mode: UrlMode | None = None) -> str:
        """See `ObjectStore.url`."""
        return self.urls((key,), mode)[key]

    def urls(
        self,
        keys: Iterable[str],
        mode: UrlMode | None = None,
        *,
        expires_seconds: int = SIGNED_URL_SECONDS,
    ) -> dict[str, str]:
        """See `ObjectStore.urls`."""
        chosen = mode or self._permanent
        if chosen == "gateway":
            return {key: gateway_url(self._public_base_url, key) for key in keys}
        if chosen == "public":
            return {key: self._address(FRAMES_PATH, key) for key in keys}
        if chosen == "signed":
            signer = self._signing()
            expires = signer.expiry(check_seconds(expires_seconds))
            return {
                key: f"{self._address(FRAMES_PATH, key)}?expires={expires}"
                f"&signature={signer.sign('GET', key, expires)}"
                for key in keys
            }
        raise unsupported_mode(chosen)

    def presign_upload(
        self,
        key: str,
        *,
        content_type: str,
        max_bytes: int,
        expires_seconds: int = UPLOAD_SECONDS,
    ) -> PresignedUpload:
        """See `ObjectStore.presign_upload`; a PUT, and never one onto an object."""
        check_upload(key, content_type, max_bytes, limit=self._max_upload_bytes)
        signer = self._signing()
        expires = signer.expiry(check_seconds(expires_seconds))
        signature = signer.sign("PUT", key, expires, content_type=content_type, max_bytes=max_bytes)
        query = urlencode(
            {
                "expires": expires,
                "content_type": content_type,
                "max_bytes": max_bytes,
                "signature": signature,
            }
        )
        return PresignedUpload(
            method="PUT",
            url=f"{self._address(UPLOADS_PATH, key)}?{query}",
            expires_at=datetime.fromtimestamp(expires, UTC),
            max_bytes=max_bytes,
            headers={"Content-Type": content_type},
        )

    def admits_reader(self, key: str, query: Mapping[str, str]) -> bool:
        """Whether somebody with this query string may read an object.

        A signature that is there must hold, also where everybody may read.
        """
        if "signature" in query or "expires" in query:
            return self._signer is not None and self._signer.admits(
                "GET", key, query.get("expires", ""), query.get("signature", "")
            )
        return self._permanent == "public" and not key.startswith(f"{UPLOADS_PREFIX}/")

    def upload_permit(self, key: str, query: Mapping[str, str]) -> UploadPermit | None:
        """What an upload address permits; None where it is none of ours, altered or over."""
        limit = query.get("max_bytes", "")
        if self._signer is None or _LIMIT.fullmatch(limit) is None:
            return None
        permit = UploadPermit(query.get("content_type", ""), int(limit))
        is_ours = self._signer.admits(
            "PUT",
            key,
            query.get("expires", ""),
            query.get("signature", ""),
            content_type=permit.content_type,
            max_bytes=permit.max_bytes,
        )
        return permit if is_ours else None

    def _address(self, path: str, key: str) -> str:
        return f"{self._public_base_url}{path}{check_key(key)}"

    def _signing(self) -> Signer:
        if self._signer is None:
            raise unsupported_mode("signed")
        return self._signer


def served_mode(settings: Settings) -> ServedMode:
    """The permanent addresses of a store that our own server shows.

    Raises:
        ConfigurationError: code "url_mode_unsupported" for "cdn": a CDN before our server is named
            by SCENE_PIPELINE_PUBLIC_URL.
    """
    if settings.url_mode == "cdn":
        raise ConfigurationError(
            "SCENE_PIPELINE_URL_MODE=cdn is for buckets; this store is shown by our own server.",
            code="url_mode_unsupported",
            next_action="Leave it out, and name the CDN in SCENE_PIPELINE_PUBLIC_URL.",
        )
    return settings.url_mode or "public"
