"""The library over HTTP, as an application of its own that the server mounts at `/api`.

Belongs here: assembly, and what becomes of errors that no route caught. Does not belong here: the
routes (`api.library_*`).
"""

from http import HTTPStatus

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from scene_pipeline.api.access import TokenRequired
from scene_pipeline.api.errors import database_down, error_answer, error_document
from scene_pipeline.api.library_assets import AssetRoutes
from scene_pipeline.api.library_events import EventRoutes
from scene_pipeline.api.library_files import FileRoutes
from scene_pipeline.api.library_imports import ImportDesk, ImportRoutes
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline.errors import NotFoundError, ScenePipelineError, UsageError


def create_library_app(library: LibraryServices, token: str) -> Starlette:
    """Build the library's routes, all of them behind the token.

    Args:
        library: The parts, opened when they are needed; closed by the caller.
        token: SCENE_PIPELINE_API_TOKEN.
    """
    desk = ImportDesk(library)
    app = Starlette(
        routes=[
            # Before `/assets/{asset_id}`, which would take its name for an id.
            *ImportRoutes(library, desk).routes(),
            *FileRoutes(library, desk).routes(),
            *EventRoutes(library).routes(),
            *AssetRoutes(library).routes(),
        ],
        middleware=[Middleware(TokenRequired, token=token)],
        exception_handlers={
            ScenePipelineError: _refused,
            psycopg.OperationalError: _database_lost,
            HTTPException: _not_routed,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    return app


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ScenePipelineError):
        raise error
    return error_answer(error)


async def _database_lost(_request: Request, _error: Exception) -> Response:
    return error_answer(database_down())


async def _not_routed(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer = error_answer(
            UsageError(
                "This address does not take that method.",
                code="method_not_allowed",
                next_action="See docs/library.md.",
            )
        )
        answer.headers.update(error.headers or {})
        return answer
    return error_answer(
        NotFoundError(
            "There is no such address.", code="no_such_path", next_action="See docs/library.md."
        )
    )


async def _unexpected(_request: Request, _error: Exception) -> Response:
    """Answer for a fault of the program; the server then writes it to its log."""
    return error_document(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "The server failed at this.",
        "See the log of the server, SCENE_PIPELINE_HOME/logs/frames.log.",
    )
