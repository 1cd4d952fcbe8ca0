"""How this program talks to Google Cloud Storage: credentials, trust, proxy, in this one place.

Belongs here: everything between `Settings` and a client. Does not belong here: what is asked of it
(`storage.gcs`).

google-cloud-storage is an extra, so it is imported where it is used. Its own retries are off (the
pipeline has some), and so is all that it takes from the environment but the credentials.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings
from scene_pipeline.storage.s3_client import ca_bundle, proxy_for

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.storage import Client  # type: ignore[import-untyped]  # Google ships no types
    from requests import Session

GOOGLE_ENDPOINT = "https://storage.googleapis.com"
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 60
TIMEOUT = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
"""To connect, and the longest silence within an answer, in seconds."""

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_GOOGLE_DOMAIN = ".googleapis.com"
_MAX_KEY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class GcsAccess:
    """A client, and what can be signed with."""

    client: "Client"
    endpoint_url: str
    """Without a slash at its end."""
    signer: "Credentials | None" = field(default=None, repr=False)
    """Credentials with a private key; None where there is none, and nothing can be signed."""

    @property
    def is_google(self) -> bool:
        """Whether the server is Google itself, whose behaviour need not be probed."""
        return (urlsplit(self.endpoint_url).hostname or "").endswith(_GOOGLE_DOMAIN)


def build_gcs_access(settings: Settings) -> GcsAccess:
    """Build the client; nothing is contacted yet where a key is given.

    Args:
        settings: `GCS_SERVICE_ACCOUNT_JSON`, `GCS_ENDPOINT_URL`, bounds, trust and the way out.
            Without a key, Google's own lookup of credentials is asked, or nobody where the endpoint
            is not Google's.

    Raises:
        ConfigurationError: The extra is missing, or the key or the endpoint cannot be used.
    """
    try:
        from google.api_core.client_options import ClientOptions  # noqa: PLC0415
        from google.auth.transport.requests import AuthorizedSession, Request  # noqa: PLC0415
        from google.cloud.storage import Client  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "Google Cloud Storage needs a library that is not installed.",
            code="gcs_extra_missing",
            next_action='Install the extra: pip install "scene-pipeline[gcs]".',
        ) from error

    endpoint = _checked_endpoint(settings.gcs_endpoint_url)
    is_google = (urlsplit(endpoint).hostname or "").endswith(_GOOGLE_DOMAIN)
    to_tokens = Request(_session(settings, GOOGLE_ENDPOINT))
    info = _service_account(settings.gcs_service_account_json)
    if info is not None:
        credentials, signer = _with_key(info), _with_key(info)
        to_tokens = Request(_session(settings, str(info.get("token_uri", ""))))
    else:
        credentials, signer = _without_key(to_tokens, is_google=is_google), None
    session = AuthorizedSession(  # type: ignore[no-untyped-call]  # Google's, untyped
        credentials,
        auth_request=to_tokens,
        refresh_timeout=READ_TIMEOUT_SECONDS,
    )
    _prepare(session, settings, endpoint)
    client = Client(
        project=None,
        credentials=credentials,
        _http=session,
        client_options=ClientOptions(api_endpoint=endpoint),
    )
    # It looks up the bucket in a thread of its own, for traces that nobody collects.
    client._bucket_metadata_cache = None  # noqa: SLF001
    return GcsAccess(client, endpoint, signer)


def _checked_endpoint(url: str | None) -> str:
    if url is None:
        return GOOGLE_ENDPOINT
    try:
        address = urlsplit(url)
        is_sound = (
            address.scheme in {"http", "https"}
            and bool(address.hostname)
            and (address.port is None or address.port > 0)
            and address.path in {"", "/"}
            and not (address.username or address.password or address.query or address.fragment)
        )
    except ValueError:
        is_sound = False
    if not is_sound:
        raise ConfigurationError(
            "GCS_ENDPOINT_URL is not an address of the form https://host[:port].",
            code="gcs_endpoint_invalid",
            next_action="Name the server alone; credentials belong into GCS_SERVICE_ACCOUNT_JSON.",
        )
    return url.rstrip("/")


def _service_account(given: str | None) -> dict[str, Any] | None:
    """The key as JSON, given as such or as the path of a file; never quoted in an error."""
    if given is None:
        return None
    try:
        text = given if given.lstrip().startswith("{") else _file(Path(given).expanduser())
        info = json.loads(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise _invalid_key(f"cannot be read: {reason or 'it is not JSON'}".lower()) from None
    if not isinstance(info, dict) or info.get("type") != "service_account":
        raise _invalid_key("is not the key of a service account")
    return info


def _file(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(_MAX_KEY_BYTES)


def _with_key(info: dict[str, Any]) -> "Credentials":
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.oauth2 import service_account  # noqa: PLC0415

    make: Callable[..., Credentials] = service_account.Credentials.from_service_account_info
    try:
        return make(info, scopes=(_SCOPE,))
    except (GoogleAuthError, ValueError) as error:
        raise _invalid_key(f"cannot be used ({type(error).__name__})") from None


def _without_key(request: Any, *, is_google: bool) -> "Credentials":
    import google.auth  # noqa: PLC0415
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    if not is_google:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]  # Google's, untyped
    try:
        credentials: Credentials = google.auth.default(scopes=(_SCOPE,), request=request)[0]
    except GoogleAuthError as error:
        raise ConfigurationError(
            "Google Cloud Storage needs credentials, and none are found.",
            code="gcs_credentials_missing",
            next_action="Set GCS_SERVICE_ACCOUNT_JSON to a service account's key, or its path.",
        ) from error
    return credentials


def _session(settings: Settings, url: str) -> "Session":
    from requests import Session  # noqa: PLC0415

    session = Session()
    _prepare(session, settings, url)
    return session


def _prepare(session: "Session", settings: Settings, url: str) -> None:
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    proxy = proxy_for(settings, url)
    session.trust_env = False
    session.verify = str(ca_bundle(settings))
    session.proxies = {"http": proxy, "https": proxy} if proxy else {}
    adapter = HTTPAdapter(pool_maxsize=settings.upload_concurrency + 2, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def _invalid_key(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"GCS_SERVICE_ACCOUNT_JSON {reason}.",
        code="gcs_credentials_invalid",
        next_action="Give the JSON of a service account's key, or the path of its file.",
    )
