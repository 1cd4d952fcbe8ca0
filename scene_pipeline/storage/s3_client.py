"""The one place that says how this program talks to S3: trust, proxy, checksums, times, retries.

Belongs here: everything between `Settings` (or Dagster's `S3Resource`) and a boto3 client. Does not
belong here: what is asked of the client (`storage.s3`).

`S3Resource` has fields for the address and the credentials only, and its `get_client()` takes no
botocore configuration. So `defs/resources.py` reads those fields into an `S3Connection` and calls
`build_s3_client`, as the other doors do with `S3Connection.from_settings`.
"""

import hashlib
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, urlsplit

import certifi

from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 60
TOTAL_ATTEMPTS = 2
"""One repetition, for a kept connection that the server closed; the pipeline retries above that."""
DEFAULT_REGION = "us-east-1"
"""Signed into requests to servers that have no regions."""

_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(frozen=True, slots=True)
class S3Patience:
    """How long one request may take, and how often it is made."""

    connect_seconds: float = CONNECT_TIMEOUT_SECONDS
    read_seconds: float = READ_TIMEOUT_SECONDS
    """Longest silence within an answer."""
    attempts: int = TOTAL_ATTEMPTS


@dataclass(frozen=True, slots=True)
class S3Connection:
    """Where the server is and who we are to it; None leaves a value to AWS's own lookup chain."""

    endpoint_url: str | None = None
    region_name: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile_name: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "S3Connection":
        """Take the `S3_*` variables."""
        return cls(
            endpoint_url=settings.s3_endpoint_url,
            region_name=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key,
        )

    @property
    def is_aws(self) -> bool:
        """Whether the server is AWS itself, whose behaviour need not be probed."""
        return is_aws_endpoint(self.endpoint_url)


def is_aws_endpoint(endpoint_url: str | None) -> bool:
    """Whether an endpoint (None: boto3's default) is AWS's own."""
    return endpoint_url is None or (urlsplit(endpoint_url).hostname or "").endswith(_AWS_DOMAINS)


def build_s3_client(
    settings: Settings,
    connection: S3Connection | None = None,
    patience: S3Patience | None = None,
) -> "S3Client":
    """Build the boto3 client that `storage.s3.S3Store` takes.

    Checksums: AWS gets boto3's default. Other servers get them `when_required` only, because over
    HTTPS boto3's default sends a trailer that some store as part of the object's encoding and
    others refuse with 411; there the `Content-MD5` of `S3Store` protects the way.

    Args:
        settings: Bounds, trust and the way out.
        connection: Address and credentials; taken from `settings` where left out.
        patience: With slow answers; that of uploads where left out.

    Raises:
        ConfigurationError: The endpoint, the credentials or SSL_CERT_FILE cannot be used.
    """
    import boto3.session  # noqa: PLC0415 (heavy: 150 ms that only S3 users should pay)
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    connection = connection or S3Connection.from_settings(settings)
    patience = patience or S3Patience()
    _check(connection)
    mode: Literal["when_supported", "when_required"] = (
        "when_supported" if connection.is_aws else "when_required"
    )
    address = connection.endpoint_url or "https://s3.amazonaws.com"
    proxy = proxy_for(settings, address)
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "virtual" if connection.is_aws else "path"},
        request_checksum_calculation=mode,
        response_checksum_validation=mode,
        # An empty dictionary, unlike None, keeps botocore from reading the environment's proxies.
        proxies={"http": proxy, "https": proxy} if proxy else {},
        connect_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        retries={"total_max_attempts": patience.attempts, "mode": "standard"},
        max_pool_connections=settings.upload_concurrency + 2,
        tcp_keepalive=True,
        # S3_ENDPOINT_URL is the only way to name another server: what is probed is what is used.
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # not in the stubs
    )
    try:
        session = boto3.session.Session(profile_name=connection.profile_name)
        return session.client(
            "s3",
            region_name=connection.region_name or (None if connection.is_aws else DEFAULT_REGION),
            endpoint_url=connection.endpoint_url,
            aws_access_key_id=connection.access_key_id,
            aws_secret_access_key=connection.secret_access_key,
            aws_session_token=connection.session_token,
            verify=str(ca_bundle(settings)),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        message = f"No S3 client can be made of these settings ({type(error).__name__})."
        action = "Check S3_REGION and S3_ENDPOINT_URL, and AWS_PROFILE where it is set."
        raise ConfigurationError(message, code="s3_settings_invalid", next_action=action) from error


def ca_bundle(settings: Settings) -> Path:
    """One PEM file of everything that is trusted: certifi's roots and SSL_CERT_FILE.

    botocore wants a path and reads it again for each connection, so the joined file is kept in the
    project's data directory, named for its content.

    Raises:
        ConfigurationError: SSL_CERT_FILE cannot be used, or the data directory cannot be written.
    """
    if settings.ssl_cert_file is None:
        return Path(certifi.where())
    tls_context(settings.ssl_cert_file)
    joined = Path(certifi.where()).read_bytes() + b"\n" + settings.ssl_cert_file.read_bytes()
    folder = settings.home_directory / "tls"
    bundle = folder / f"ca-{hashlib.sha256(joined).hexdigest()[:16]}.pem"
    if bundle.is_file():
        return bundle
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".{bundle.name}.{os.getpid()}"
        unfinished.write_bytes(joined)
        unfinished.replace(bundle)
    except OSError as error:
        message = f"{folder} cannot be written: {error.strerror}."
        action = "Let SCENE_PIPELINE_HOME name a directory that this user can write to."
        raise ConfigurationError(message, code="home_not_writable", next_action=action) from error
    return bundle


def proxy_for(settings: Settings, url: str) -> str | None:
    """The proxy for an address out of our own settings, or None for a direct connection.

    Loopback addresses go direct, since a proxy has another loopback; so do the hosts of
    SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS (`host` or `host:port`), which name servers on this side
    of it. The environment's own proxy variables never count.
    """
    address = urlsplit(url)
    if settings.egress_proxy is None or _is_loopback(address.hostname or ""):
        return None
    trusted = (urlsplit(f"//{entry}") for entry in settings.trusted_private_hosts)
    if any(_covers(entry, address) for entry in trusted):
        return None
    return settings.egress_proxy


def _covers(entry: SplitResult, address: SplitResult) -> bool:
    port = address.port or (443 if address.scheme == "https" else 80)
    return entry.hostname == address.hostname and entry.port in {None, port}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check(connection: S3Connection) -> None:
    if (connection.access_key_id is None) != (connection.secret_access_key is None):
        message = "Of S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY only one is set."
        action = "Set both, or neither to use AWS's own credential chain."
        raise ConfigurationError(message, code="s3_credentials_incomplete", next_action=action)
    if connection.endpoint_url is None:
        return
    try:
        address = urlsplit(connection.endpoint_url)
        is_sound = (
            address.scheme in {"http", "https"}
            and bool(address.hostname)
            and (address.port is None or address.port > 0)
            and not (address.username or address.password or address.query or address.fragment)
        )
    except ValueError:
        is_sound = False
    if not is_sound:
        message = "S3_ENDPOINT_URL is not an address of the form https://host[:port]."
        action = "Name the server alone; credentials belong into S3_ACCESS_KEY_ID and its secret."
        raise ConfigurationError(message, code="s3_endpoint_invalid", next_action=action)
