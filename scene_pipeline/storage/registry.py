"""Which store the settings ask for.

Belongs here: reading the storage URL, and one line per store. Does not belong here: the
environment's names (`settings`).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.scenes.identity import is_storage_key
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import IMMUTABLE_CACHE_CONTROL, ObjectStore
from scene_pipeline.storage.local import LocalStore
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.s3_client import build_s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_FORMS = "Write s3://bucket, s3://bucket/prefix, file:///absolute/path or memory://."
_LATER = {"gs": "Google Cloud Storage", "database": "The database store"}


@dataclass(frozen=True, slots=True)
class StorageLocation:
    """A storage URL, taken apart."""

    kind: Literal["s3", "local", "memory"]
    bucket: str = ""
    prefix: str = ""
    """Put before every key in the bucket; without slashes at its ends."""
    directory: Path | None = None


def build_store(settings: Settings, *, s3_client: "S3Client | None" = None) -> ObjectStore:
    """Make the store that the settings ask for; the store itself is not contacted yet.

    Without S3_ACCESS_KEY_ID boto3 goes through AWS's own credential chain here, which on a machine
    without any other credentials ends at its metadata service.

    Args:
        settings: `SCENE_PIPELINE_STORAGE` wins, else `S3_BUCKET`, else files.
        s3_client: For the door that has one already (Dagster's `S3Resource`).

    Raises:
        ConfigurationError: The storage URL or a setting of the store cannot be used.
    """
    location = parse_storage_url(settings.resolved_storage_url)
    if location.directory is not None:
        return LocalStore(location.directory, settings.public_url)
    if location.kind == "memory":
        return MemoryStore()
    return S3Store(
        s3_client or build_s3_client(settings),
        location.bucket,
        prefix=location.prefix,
        public_base_url=_checked_base_url(settings.s3_public_base_url),
        acl=settings.s3_upload_acl,
        cache_control=settings.s3_cache_control or IMMUTABLE_CACHE_CONTROL,
    )


def parse_storage_url(url: str) -> StorageLocation:
    """Take a storage URL apart.

    Raises:
        ConfigurationError: code "storage_not_available" for a store that a later version brings,
            "storage_url_invalid" for everything else; the URL itself is quoted only up to its
            scheme, since people put passwords into URLs.
    """
    try:
        parts = urlsplit(url)
        has_extras = bool(parts.query or parts.fragment or parts.username or parts.password)
    except ValueError as error:
        raise _invalid("is not a URL") from error
    if parts.scheme in _LATER:
        message = f"{_LATER[parts.scheme]} ({parts.scheme}://) is not available in this version."
        raise ConfigurationError(message, code="storage_not_available", next_action=_FORMS)
    if has_extras:
        raise _invalid("holds more than a place: no user, query or fragment belongs there")
    if parts.scheme == "s3":
        return _bucket(parts.netloc, parts.path)
    if parts.scheme == "file":
        return _directory(parts.netloc, unquote(parts.path))
    if parts.scheme == "memory" and not parts.netloc and parts.path in {"", "/"}:
        return StorageLocation("memory")
    raise _invalid("names no store that is known")


def _bucket(bucket: str, path: str) -> StorageLocation:
    prefix = path.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise _invalid("names no bucket of a permitted form")
    if prefix and not is_storage_key(prefix):
        raise _invalid("has a prefix of other characters than letters, digits, '_', '-' and '.'")
    return StorageLocation("s3", bucket=bucket, prefix=prefix)


def _directory(host: str, path: str) -> StorageLocation:
    if host not in {"", "localhost"}:
        raise _invalid("needs three slashes before an absolute path")
    if not path.startswith("/") or path == "/" or "\0" in path:
        raise _invalid("names no directory")
    return StorageLocation("local", directory=Path(path))


def _checked_base_url(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            "S3_PUBLIC_BASE_URL is not an address of the form https://host[/path].",
            code="s3_public_base_url_invalid",
            next_action="Name the address that shows the bucket's root to everybody.",
        )
    return url


def _invalid(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The storage URL {reason}.", code="storage_url_invalid", next_action=_FORMS
    )
