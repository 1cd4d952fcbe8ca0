"""Errors as JSON answers: code, message and next action, with the right status.

Belongs here: statuses, and what a caller is told. Does not belong here: what went wrong (`errors`),
and answers of the frame server, which are plain text (`api.refusals`).
"""

from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse

from scene_pipeline.errors import (
    ConfigurationError,
    DatabaseError,
    FetchError,
    FileRefusedError,
    ImageError,
    NotFoundError,
    SceneError,
    ScenePipelineError,
    UsageError,
)

RETRY_SECONDS: Final = 5
BUSY: Final = "busy"
UNAUTHORIZED: Final = "unauthorized"
NO_STORE: Final = "no-store"

_STATUS_OF_CODE = {
    UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    "api_closed": HTTPStatus.NOT_FOUND,
    "no_such_path": HTTPStatus.NOT_FOUND,
    "object_missing": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "body_too_slow": HTTPStatus.REQUEST_TIMEOUT,
    "asset_external": HTTPStatus.CONFLICT,
    "asset_in_use": HTTPStatus.CONFLICT,
    "asset_is_frame": HTTPStatus.CONFLICT,
    "upload_expired": HTTPStatus.CONFLICT,
    "upload_missing": HTTPStatus.CONFLICT,
    "upload_unsupported": HTTPStatus.CONFLICT,
    "url_mode_unsupported": HTTPStatus.CONFLICT,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "content_type_unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "kind_mismatch": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "no_derivative": HTTPStatus.UNPROCESSABLE_ENTITY,
    BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
}
# The first that fits.
_STATUS_OF_CLASS: tuple[tuple[type[ScenePipelineError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConfigurationError, HTTPStatus.SERVICE_UNAVAILABLE),
    (DatabaseError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UsageError, HTTPStatus.BAD_REQUEST),
)
_REFUSALS = (FetchError, FileRefusedError, ImageError)


def error_answer(error: ScenePipelineError) -> JSONResponse:
    """The answer for an error that this program raised on purpose."""
    if isinstance(error, DatabaseError):
        error = database_down()  # which server it is, and where, is nobody's business outside
    status = _status(error)
    headers = {"Cache-Control": NO_STORE}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return error_document(status, error.error_code, error.message, error.next_action, headers)


def error_document(
    status: int, code: str, message: str, next_action: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as every route tells one."""
    document = {"code": code, "message": message, "next_action": next_action}
    return JSONResponse(document, status, headers or {"Cache-Control": NO_STORE})


def status_of_refused_file(code: str) -> int:
    """The status for an import that was refused for good, by its code."""
    return _STATUS_OF_CODE.get(code, HTTPStatus.UNPROCESSABLE_ENTITY)


def database_down() -> DatabaseError:
    """The database does not answer, told without its address."""
    return DatabaseError(
        "The database does not answer.",
        next_action="Try again in a few seconds; where it stays so, `scene-pipeline doctor` says"
        " why.",
    )


def busy(what: str) -> ScenePipelineError:
    """Too much of something is under way.

    Args:
        what: "uploads"; what there are too many of.
    """
    return ScenePipelineError(
        f"Too many {what} at once.", code=BUSY, next_action="Try again in a few seconds."
    )


def _status(error: ScenePipelineError) -> int:
    status = _STATUS_OF_CODE.get(error.error_code)
    if status is not None:
        return status
    for kind, class_status in _STATUS_OF_CLASS:
        if isinstance(error, kind):
            return class_status
    is_retryable = isinstance(error, SceneError) and error.retryable
    if isinstance(error, _REFUSALS) and not is_retryable:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.SERVICE_UNAVAILABLE
