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
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.base import IMMUTABLE_CACHE_CONTROL, ObjectStore
from scene_pipeline.storage.gcs import GcsStore
from scene_pipeline.storage.gcs_client import GOOGLE_ENDPOINT, build_gcs_access
from scene_pipeline.storage.local import LocalStore
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.s3_client import S3Connection, build_s3_client
from scene_pipeline.storage.served import served_mode
from scene_pipeline.storage.signing import Signer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

AWS_ENDPOINT = "https://s3.amazonaws.com"

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_FORMS = (
    "Write s3://bucket, gs://bucket (either may have /prefix), file:///absolute/path, database:// "
    "or memory://."
)


@dataclass(frozen=True, slots=True)
class StorageLocation:
    """A storage URL, taken apart."""

    kind: Literal["s3", "gs", "local", "database", "memory"]
    bucket: str = ""
    prefix: str = ""
    """Put before every key in the bucket; without slashes at its ends."""
    directory: Path | None = None


def build_store(
    settings: Settings,
    *,
    s3_client: "S3Client | None" = None,
    database_url: str | None = None,
) -> ObjectStore:
    """Make the store that the settings ask for; the store itself is not contacted yet.

    Without S3_ACCESS_KEY_ID boto3 goes through AWS's own credential chain here, which on a machine
    without any other credentials ends at its metadata service; so does Google's without
    GCS_SERVICE_ACCOUNT_JSON.

    Args:
        settings: `SCENE_PIPELINE_STORAGE` wins, else `S3_BUCKET`, else `GCS_BUCKET`, else files.
        s3_client: For the door that has one already (Dagster's `S3Resource`).
        database_url: Of the database that is open, for `database://`: the embedded one has no
            setting that says where it is. DATABASE_URL where left out.

    Raises:
        ConfigurationError: The storage URL or a setting of the store cannot be used.
    """
    location = parse_storage_url(settings.resolved_storage_url)
    if location.kind == "s3":
        return _s3_store(settings, location, s3_client)
    if location.kind == "gs":
        return _gcs_store(settings, location)
    if location.kind == "database":
        return _database_store(settings, database_url or settings.database_url)
    if location.directory is not None:
        return LocalStore(
            location.directory,
            settings.public_url,
            permanent=served_mode(settings),
            signer=Signer.of(settings),
        )
    return MemoryStore()


def store_identity(settings: Settings) -> str:
    """Which store the settings ask for, without credentials: equal for what is the same store.

    Made of the settings alone: "s3://frames/films at https://s3.amazonaws.com" (in whatever region,
    since a bucket's name is unique there), "gs://frames at https://storage.googleapis.com",
    "file:///data/frames", "database://", "memory://".

    Raises:
        ConfigurationError: The storage URL cannot be used.
    """
    location = parse_storage_url(settings.resolved_storage_url)
    if location.directory is not None:
        return location.directory.resolve().as_uri()
    if location.kind in {"database", "memory"}:
        return f"{location.kind}://"
    place = f"{location.kind}://{location.bucket}/{location.prefix}".rstrip("/")
    if location.kind == "gs":
        return f"{place} at {_origin(settings.gcs_endpoint_url or GOOGLE_ENDPOINT)}"
    if S3Connection.from_settings(settings).is_aws:
        # AWS in China is another AWS, with names of its own.
        where = f"{settings.s3_region or ''} {settings.s3_endpoint_url or ''}"
        is_china = where.startswith("cn-") or ".amazonaws.com.cn" in where
        return f"{place} at {AWS_ENDPOINT}{'.cn' if is_china else ''}"
    return f"{place} at {_origin(settings.s3_endpoint_url or '')}"


def parse_storage_url(url: str) -> StorageLocation:
    """Take a storage URL apart.

    Raises:
        ConfigurationError: code "storage_url_invalid"; the URL itself is not quoted, since people
            put passwords into URLs.
    """
    try:
        parts = urlsplit(url)
        has_extras = bool(parts.query or parts.fragment or parts.username or parts.password)
    except ValueError as error:
        raise _invalid("is not a URL") from error
    if has_extras:
        raise _invalid("holds more than a place: no user, query or fragment belongs there")
    if parts.scheme == "s3":
        return _bucket("s3", parts.netloc, parts.path)
    if parts.scheme == "gs":
        return _bucket("gs", parts.netloc, parts.path)
    if parts.scheme == "file":
        return _directory(parts.netloc, unquote(parts.path))
    if not parts.netloc and parts.path in {"", "/"}:
        if parts.scheme == "memory":
            return StorageLocation("memory")
        if parts.scheme == "database":
            return StorageLocation("database")
    raise _invalid("names no store that is known")


def _s3_store(settings: Settings, location: StorageLocation, client: "S3Client | None") -> S3Store:
    return S3Store(
        client or build_s3_client(settings),
        location.bucket,
        prefix=location.prefix,
        public_base_url=_cdn_url(settings),
        server_url=settings.public_url,
        permanent=settings.url_mode,
        acl=settings.s3_upload_acl,
        cache_control=settings.s3_cache_control or IMMUTABLE_CACHE_CONTROL,
        reader=AnonymousReader(settings),
    )


def _gcs_store(settings: Settings, location: StorageLocation) -> ObjectStore:
    return GcsStore(
        build_gcs_access(settings),
        location.bucket,
        prefix=location.prefix,
        public_base_url=_cdn_url(settings),
        server_url=settings.public_url,
        permanent=settings.url_mode,
        cache_control=settings.s3_cache_control or IMMUTABLE_CACHE_CONTROL,
    )


def _database_store(settings: Settings, database_url: str | None) -> ObjectStore:
    from scene_pipeline.storage.database import DatabaseStore  # noqa: PLC0415 (opens connections)

    if database_url is None:
        message = "The store in the database needs the database's address here."
        raise ConfigurationError(
            message,
            code="storage_needs_database",
            next_action="Set DATABASE_URL, or use a command that opens the embedded database.",
        )
    return DatabaseStore(
        database_url,
        settings.public_url,
        permanent=served_mode(settings),
        signer=Signer.of(settings),
    )


def _bucket(kind: Literal["s3", "gs"], bucket: str, path: str) -> StorageLocation:
    prefix = path.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise _invalid("names no bucket of a permitted form")
    if prefix and not is_storage_key(prefix):
        raise _invalid("has a prefix of other characters than letters, digits, '_', '-' and '.'")
    return StorageLocation(kind, bucket=bucket, prefix=prefix)


def _directory(host: str, path: str) -> StorageLocation:
    if host not in {"", "localhost"}:
        raise _invalid("needs three slashes before an absolute path")
    if not path.startswith("/") or path == "/" or "\0" in path:
        raise _invalid("names no directory")
    return StorageLocation("local", directory=Path(path))


def _cdn_url(settings: Settings) -> str | None:
    url = settings.s3_public_base_url
    if url is None:
        if settings.url_mode == "cdn":
            raise ConfigurationError(
                "SCENE_PIPELINE_URL_MODE=cdn needs the CDN's address.",
                code="url_mode_unsupported",
                next_action="Set S3_PUBLIC_BASE_URL to the address that shows the bucket's root.",
            )
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            "S3_PUBLIC_BASE_URL is not an address of the form https://host[/path].",
            code="s3_public_base_url_invalid",
            next_action="Name the address that shows the bucket's root to everybody.",
        )
    return url


def _origin(url: str) -> str:
    """Scheme, host and port alone; the client refuses what is no address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _invalid(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The storage URL {reason}.", code="storage_url_invalid", next_action=_FORMS
    )
