"""The application: its routes and what every answer carries.

Belongs here: assembly. Does not belong here: sockets and signals (`api.server`).
"""

import hashlib
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from scene_pipeline.api.access import closed
from scene_pipeline.api.frames import FrameEndpoint
from scene_pipeline.api.media import GatewayEndpoint
from scene_pipeline.api.uploads import UploadEndpoint
from scene_pipeline.settings import Settings
from scene_pipeline.storage.addresses import MEDIA_PATH
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.registry import build_store, parse_storage_url, store_identity
from scene_pipeline.storage.served import FRAMES_PATH, UPLOADS_PATH, ServedStore

HEALTH_PATH = "/healthz"
LIBRARY_PATH = "/api"


def create_app(
    settings: Settings,
    store: ObjectStore | None = None,
    *,
    is_ending: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Build the HTTP door.

    A store of our own (files, the database) is shown under `/frames/`, and takes uploads. Others
    have addresses of their own; the gateway stands before each of them. The library is open to
    whoever has the token of the settings, and to nobody where there is none.

    Args:
        settings: What to serve.
        store: Where the objects are, closed by the caller; built of the settings when left out.
        is_ending: Whether the server is about to stop, so that long answers end by themselves.

    Raises:
        ConfigurationError: The storage URL or a setting of the store cannot be used.
    """
    instance = instance_id(settings)
    store = store or build_store(settings)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse(
            {"status": "ok", "instance": instance}, headers={"Cache-Control": "no-store"}
        )

    parts = AsyncExitStack()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with parts:
            yield

    # Given as a function, Starlette hands an endpoint a request; a bare object would be ASGI.
    routes: list[BaseRoute] = [
        Route(HEALTH_PATH, health, methods=["GET"]),
        Route(MEDIA_PATH + "{key:path}", GatewayEndpoint(store).__call__, methods=["GET"]),
    ]
    if isinstance(store, ServedStore):
        frames, uploads = FrameEndpoint(store), UploadEndpoint(store)
        routes += [
            Route(FRAMES_PATH + "{key:path}", frames.__call__, methods=["GET"]),
            Route(UPLOADS_PATH + "{key:path}", uploads.__call__, methods=["PUT"]),
        ]
    routes.append(Mount(LIBRARY_PATH, _library(settings, parts, is_ending)))
    return Starlette(routes=routes, middleware=[Middleware(_SafeHeaders)], lifespan=lifespan)


def has_work(settings: Settings) -> bool:
    """Whether documents, what is uploaded, or programs that use the library need this server.

    Raises:
        ConfigurationError: The storage URL cannot be used.
    """
    kind = parse_storage_url(settings.resolved_storage_url).kind
    is_needed_by_store = kind in {"local", "database"} or settings.url_mode == "gateway"
    return is_needed_by_store or settings.api_token is not None


def instance_id(settings: Settings) -> str:
    """What tells two servers apart: 16 hex digits of the hash of what they serve, and how.

    `/healthz` gives it, so that a second start can tell "already running" from "port taken".

    Raises:
        ConfigurationError: The storage URL cannot be used.
    """
    has_library = settings.api_token is not None
    served = [store_identity(settings), settings.url_mode or "", "library" if has_library else ""]
    is_in_database = parse_storage_url(settings.resolved_storage_url).kind == "database"
    if is_in_database or has_library:
        served.append(settings.database_url or str(settings.home_directory))
    return hashlib.sha256("\n".join(served).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _library(settings: Settings, parts: AsyncExitStack, is_ending: Callable[[], bool]) -> ASGIApp:
    """The library's routes; what they open is closed with the parts of the server."""
    if settings.api_token is None:
        return closed
    # Psycopg and the use cases: commands that only ask for addresses import this module as well.
    from scene_pipeline.api.library import create_library_app  # noqa: PLC0415
    from scene_pipeline.api.library_services import LibraryServices  # noqa: PLC0415

    library = LibraryServices(settings, is_ending=is_ending)
    parts.push_async_callback(library.close)
    return create_library_app(library, settings.api_token)


class _SafeHeaders:
    """Adds to every answer, errors included, what keeps a browser from running anything.

    A page of ours brings a policy of its own (`api.frames`), which forbids the same but its looks.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Content-Security-Policy", "default-src 'none'; sandbox")
            await send(message)

        await self._app(scope, receive, send_with_headers)
