"""What the errors of boto3 mean to a reader: one sentence, one code, whether to try again.

Belongs here: the table and its use. Messages name the bucket and the server's own error code and
nothing else of its answer, which may quote headers and signed addresses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scene_pipeline.errors import StorageError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

MAX_RETRY_AFTER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Meaning:
    code: str
    sentence: str
    cure: str | None = None
    is_retryable: bool = False


_CREDENTIALS_CURE = "Check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and what they are allowed."
_REGION_CURE = "Set S3_REGION to the bucket's own region."
_DENIED = _Meaning("storage_denied", "refuses these credentials", _CREDENTIALS_CURE)
_MISSING_BUCKET = _Meaning(
    "bucket_missing",
    "does not exist",
    "Make the bucket, or correct S3_BUCKET or SCENE_PIPELINE_STORAGE.",
)
_WRONG_REGION = _Meaning("bucket_region", "lies in another region", _REGION_CURE)
_FULL = _Meaning("storage_full", "has no space left", "Make room there, then run again.")
_BUSY = _Meaning("storage_busy", "asks to slow down", is_retryable=True)
_BROKEN = _Meaning("storage_unavailable", "has a fault of its own", is_retryable=True)
_DAMAGED = _Meaning("storage_corrupted", "received other bytes than were sent", is_retryable=True)
_SILENT = _Meaning(
    "storage_unreachable",
    "cannot be reached",
    "Check S3_ENDPOINT_URL, the network and SCENE_PIPELINE_EGRESS_PROXY.",
    is_retryable=True,
)
_UNTRUSTED = _Meaning(
    "storage_tls",
    "shows a certificate that is not trusted",
    "Name the server's CA in SSL_CERT_FILE.",
)
_NO_CREDENTIALS = _Meaning("storage_credentials", "needs credentials", _CREDENTIALS_CURE)
_EXISTS = _Meaning("object_exists", "already holds an object under this key")
_UNSUPPORTED = _Meaning("storage_unsupported", "does not know what was asked")

_BY_SERVER_CODE = {
    "NoSuchBucket": _MISSING_BUCKET,
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "RequestTimeTooSkewed": _Meaning(
        "storage_clock", "says that this machine's clock is wrong", "Set the clock."
    ),
    "AccessControlListNotSupported": _Meaning(
        "acl_refused",
        "takes no ACLs",
        "Unset S3_UPLOAD_ACL; `scene-pipeline doctor` prints the bucket policy to use instead.",
    ),
    "NoSuchKey": _Meaning("object_missing", "does not hold this object"),
    "PreconditionFailed": _EXISTS,
    "NotImplemented": _UNSUPPORTED,
    "ConditionalRequestConflict": _BUSY,
    "OperationAborted": _BUSY,
    "SlowDown": _BUSY,
    "RequestTimeout": _SILENT,
    "BadDigest": _DAMAGED,
    "XAmzContentSHA256Mismatch": _DAMAGED,
    "IncompleteBody": _DAMAGED,
    "QuotaExceeded": _FULL,
    "InsufficientCapacity": _FULL,
    "EntityTooLarge": _Meaning("object_too_large", "takes no objects of this size"),
}
_BY_STATUS = {
    401: _DENIED,
    403: _DENIED,
    404: _Meaning("object_missing", "does not hold this object"),
    408: _SILENT,
    409: _BUSY,
    412: _EXISTS,
    429: _BUSY,
    501: _UNSUPPORTED,
    503: _BUSY,
    507: _FULL,
}


@contextmanager
def explained(bucket: str, key: str) -> Iterator[None]:
    """Turn whatever boto3 raises inside into a `StorageError`.

    Raises:
        StorageError: With `retryable` and `retry_after_seconds` set.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except ClientError as error:
        raise _refusal(error, bucket, key) from error
    except BotoCoreError as error:
        raise _told(_meaning_of_failure(error), bucket, key, type(error).__name__) from error
    except HTTPError as error:
        raise _told(_SILENT, bucket, key, type(error).__name__) from error


def _refusal(error: "ClientError", bucket: str, key: str) -> StorageError:
    answer = error.response
    server_code = str(answer.get("Error", {}).get("Code", "")) or "no code"
    metadata = answer.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    meaning = _BY_SERVER_CODE.get(server_code) or _BY_STATUS.get(status)
    if meaning is None:
        meaning = _BROKEN if status >= 500 else _Meaning("storage_refused", "refuses the request")
    retry_after = metadata.get("HTTPHeaders", {}).get("retry-after", "")
    seconds = min(float(retry_after), MAX_RETRY_AFTER_SECONDS) if retry_after.isdigit() else None
    return _told(meaning, bucket, key, server_code, seconds)


def _meaning_of_failure(error: "BotoCoreError") -> _Meaning:
    from botocore import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.SSLError):
        return _UNTRUSTED
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return _SILENT
    if isinstance(error, exceptions.FlexibleChecksumError | exceptions.IncompleteReadError):
        return _DAMAGED
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError,
    ):
        return _NO_CREDENTIALS
    return _Meaning("storage_failed", "could not be asked")


def _told(
    meaning: _Meaning, bucket: str, key: str, reason: str, retry_after: float | None = None
) -> StorageError:
    return StorageError(
        f"S3 bucket {bucket} {meaning.sentence} ({reason[:60]}, {key}).",
        code=meaning.code,
        next_action=meaning.cure,
        retryable=meaning.is_retryable,
        retry_after_seconds=retry_after,
    )
