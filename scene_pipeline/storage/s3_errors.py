"""What the errors of boto3 mean to a reader: one sentence, one code, whether to try again.

Belongs here: the table and its use. Messages name the bucket and the server's own error code and
nothing else of its answer, which may quote headers and signed addresses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.meanings import (
    BROKEN,
    BUSY,
    DAMAGED,
    EXISTS,
    FAILED,
    FULL,
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
    from botocore.exceptions import BotoCoreError, ClientError

_CREDENTIALS_CURE = "Check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and what they are allowed."
_REGION_CURE = "Set S3_REGION to the bucket's own region."
_DENIED = Meaning("storage_denied", "refuses these credentials", _CREDENTIALS_CURE)
_WRONG_REGION = Meaning("bucket_region", "lies in another region", _REGION_CURE)
_SILENT = Meaning(
    "storage_unreachable",
    "cannot be reached",
    "Check S3_ENDPOINT_URL, the network and SCENE_PIPELINE_EGRESS_PROXY.",
    is_retryable=True,
)
_NO_CREDENTIALS = Meaning("storage_credentials", "needs credentials", _CREDENTIALS_CURE)

_BY_SERVER_CODE = {
    "NoSuchBucket": MISSING_BUCKET,
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "RequestTimeTooSkewed": Meaning(
        "storage_clock", "says that this machine's clock is wrong", "Set the clock."
    ),
    "AccessControlListNotSupported": Meaning(
        "acl_refused",
        "takes no ACLs",
        "Unset S3_UPLOAD_ACL; `scene-pipeline doctor` prints the bucket policy to use instead.",
    ),
    "NoSuchKey": MISSING,
    "PreconditionFailed": EXISTS,
    "NotImplemented": UNSUPPORTED,
    "ConditionalRequestConflict": BUSY,
    "OperationAborted": BUSY,
    "SlowDown": BUSY,
    "RequestTimeout": _SILENT,
    "BadDigest": DAMAGED,
    "XAmzContentSHA256Mismatch": DAMAGED,
    "IncompleteBody": DAMAGED,
    "QuotaExceeded": FULL,
    "InsufficientCapacity": FULL,
    "EntityTooLarge": Meaning("object_too_large", "takes no objects of this size"),
}
_BY_STATUS = {
    401: _DENIED,
    403: _DENIED,
    404: MISSING,
    408: _SILENT,
    409: BUSY,
    412: EXISTS,
    429: BUSY,
    501: UNSUPPORTED,
    503: BUSY,
    507: FULL,
}


@contextmanager
def explained(bucket: str, key: str) -> Iterator[None]:
    """Turn whatever boto3 raises inside into a `StorageError`.

    Raises:
        StorageError: With `retryable` and `retry_after_seconds` set.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    place = f"S3 bucket {bucket}"
    try:
        yield
    except ClientError as error:
        raise _refusal(error, place, key) from error
    except BotoCoreError as error:
        raise told(_meaning_of_failure(error), place, key, type(error).__name__) from error
    except HTTPError as error:
        raise told(_SILENT, place, key, type(error).__name__) from error


def _refusal(error: "ClientError", place: str, key: str) -> StorageError:
    answer = error.response
    server_code = str(answer.get("Error", {}).get("Code", "")) or "no code"
    metadata = answer.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    meaning = _BY_SERVER_CODE.get(server_code) or _BY_STATUS.get(status)
    if meaning is None:
        meaning = BROKEN if status >= 500 else REFUSED
    retry_after = metadata.get("HTTPHeaders", {}).get("retry-after", "")
    seconds = seconds_to_wait(retry_after)
    return told(meaning, place, key, server_code, seconds)


def _meaning_of_failure(error: "BotoCoreError") -> Meaning:
    from botocore import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.SSLError):
        return UNTRUSTED
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return _SILENT
    if isinstance(error, exceptions.FlexibleChecksumError | exceptions.IncompleteReadError):
        return DAMAGED
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError,
    ):
        return _NO_CREDENTIALS
    return FAILED
