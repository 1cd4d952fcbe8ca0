"""What the errors of Google's libraries mean to a reader: one sentence, one code, whether to retry.

Belongs here: the table and its use. Messages name the bucket and the status or the exception's name
and nothing else of the answer, which may quote headers and signed addresses.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.meanings import (
    BROKEN,
    BUSY,
    DAMAGED,
    EXISTS,
    FAILED,
    MISSING,
    MISSING_BUCKET,
    REFUSED,
    UNSUPPORTED,
    UNTRUSTED,
    Meaning,
    seconds_to_wait,
    told,
)

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError

_CREDENTIALS_CURE = "Check GCS_SERVICE_ACCOUNT_JSON, and what that account is allowed."
_DENIED = Meaning("storage_denied", "refuses these credentials", _CREDENTIALS_CURE)
_NO_CREDENTIALS = Meaning("storage_credentials", "needs credentials", _CREDENTIALS_CURE)
_SILENT = Meaning(
    "storage_unreachable",
    "cannot be reached",
    "Check GCS_ENDPOINT_URL, the network and SCENE_PIPELINE_EGRESS_PROXY.",
    is_retryable=True,
)
_BY_STATUS: Mapping[int, Meaning] = {
    401: _DENIED,
    403: _DENIED,
    404: MISSING,
    408: _SILENT,
    409: BUSY,
    412: EXISTS,
    413: Meaning("object_too_large", "takes no objects of this size"),
    429: BUSY,
    501: UNSUPPORTED,
    503: BUSY,
}
_WRONG_DIGEST = ("hash", "CRC32C", "MD5")
"""What Google's 400 says where the bytes are others than their announced digest."""


@contextmanager
def explained(bucket: str, key: str) -> Iterator[None]:
    """Turn whatever Google's libraries raise inside into a `StorageError`.

    Raises:
        StorageError: With `retryable` and `retry_after_seconds` set.
    """
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # type: ignore[import-untyped]  # noqa: PLC0415  # no types; where used
    from requests.exceptions import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    place = f"GCS bucket {bucket}"
    try:
        yield
    except GoogleAPICallError as error:
        raise _refusal(error, place, key) from error
    except DataCorruption as error:
        raise told(DAMAGED, place, key, type(error).__name__) from error
    except InvalidResponse as error:
        status = int(error.response.status_code)
        raise told(_of_status(status), place, key, f"status {status}") from error
    except GoogleAuthError as error:
        raise told(_of_auth(error), place, key, type(error).__name__) from error
    except (RequestException, HTTPError) as error:
        raise told(_of_transport(error), place, key, type(error).__name__) from error
    except ValueError as error:
        # What the libraries say of an answer that is none of theirs, such as a proxy's page.
        raise told(FAILED, place, key, type(error).__name__) from error


def _refusal(error: "GoogleAPICallError", place: str, key: str) -> StorageError:
    status = int(error.code or 0)
    meaning = _of_status(status)
    said = str(error.message)
    if status == 404 and "bucket does not exist" in said:
        meaning = MISSING_BUCKET
    elif status == 400 and any(word in said for word in _WRONG_DIGEST):
        meaning = DAMAGED
    headers = getattr(error.response, "headers", None) or {}
    wait = seconds_to_wait(str(headers.get("Retry-After", "")))
    return told(meaning, place, key, f"status {status}", wait)


def _of_status(status: int) -> Meaning:
    known = _BY_STATUS.get(status)
    return known or (BROKEN if status >= 500 else REFUSED)


def _of_auth(error: Exception) -> Meaning:
    from google.auth.exceptions import RefreshError, TransportError  # noqa: PLC0415

    if isinstance(error, TransportError):
        cause = error.args[0] if error.args else None
        return _of_transport(cause if isinstance(cause, Exception) else error)
    return _DENIED if isinstance(error, RefreshError) else _NO_CREDENTIALS


def _of_transport(error: Exception) -> Meaning:
    from requests.exceptions import SSLError  # noqa: PLC0415

    return UNTRUSTED if isinstance(error, SSLError) else _SILENT
