"""The application: its routes and what every answer carries.

Belongs here: assembly. Does not belong here: sockets and signals (`api.server`).
"""

import hashlib
from collections.abc import MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from scene_pipeline.api.frames import FrameEndpoint
from scene_pipeline.settings import Settings
from scene_pipeline.storage.local import FRAMES_PATH, LocalStore
from scene_pipeline.storage.registry import parse_storage_url

HEALTH_PATH = "/healthz"


def create_app(settings: Settings) -> Starlette:
    """Build the HTTP door.

    Frames are served where they are local files; other stores have addresses of their own, and
    then `/frames/` knows no key.

    Raises:
        ConfigurationError: The storage URL cannot be used.
    """
    instance = instance_id(settings)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse(
            {"status": "ok", "instance": instance}, headers={"Cache-Control": "no-store"}
        )

    routes = [Route(HEALTH_PATH, health, methods=["GET"])]
    location = parse_storage_url(settings.resolved_storage_url)
    if location.directory is not None:
        store = LocalStore(location.directory, settings.public_url)
        # Given as a function, Starlette hands the endpoint a request; a bare object would be ASGI.
        routes.append(
            Route(FRAMES_PATH + "{key:path}", FrameEndpoint(store).__call__, methods=["GET"])
        )
    return Starlette(routes=routes, middleware=[Middleware(_SafeHeaders)])


def instance_id(settings: Settings) -> str:
    """What tells two servers apart: 16 hex digits of the hash of what they serve.

    `/healthz` gives it, so that a second start can tell "already running" from "port taken".

    Raises:
        ConfigurationError: The storage URL cannot be used.
    """
    location = parse_storage_url(settings.resolved_storage_url)
    if location.directory is not None:
        served = f"local:{location.directory.resolve()}"
    else:
        served = f"{location.kind}:{location.bucket}/{location.prefix}"
    return hashlib.sha256(served.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class _SafeHeaders:
    """Adds to every answer, errors included, what keeps a browser from running anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
            await send(message)

        await self._app(scope, receive, send_with_headers)
