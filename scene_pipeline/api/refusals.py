"""Errors of a store as answers.

Belongs here: status codes. Does not belong here: what went wrong (`errors`).
"""

from starlette.responses import PlainTextResponse, Response

from scene_pipeline.errors import StorageError

NOT_ADMITTED = "This address was altered, is over, or needs a signature.\n"

_STATUSES = {
    "object_missing": 404,
    "key_invalid": 404,
    "url_mode_unsupported": 404,
    "object_exists": 409,
    "storage_full": 507,
}
_RETRY_SECONDS = 5


def refusal(error: StorageError) -> Response:
    """The answer for an error: nobody outside is told more than its kind."""
    if error.retryable:
        return busy()
    status = _STATUSES.get(error.error_code, 500)
    return PlainTextResponse(f"{error.error_code}\n", status_code=status)


def busy() -> Response:
    """Come again later."""
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return PlainTextResponse("Not now.\n", status_code=503, headers=headers)
