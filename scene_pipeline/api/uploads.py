"""`PUT /uploads/<key>`: one permitted file, taken in place of a bucket's presigned upload.

Belongs here: the rules that a bucket would enforce (type, size, time, never onto an object), and
bounds of time and number. Does not belong here: what was uploaded, which whoever completes the
upload looks at, and where the bytes go (`storage.served`).

Mode of operation: bytes go to an unfinished file chunk by chunk; it becomes an object when all of
them are there and within the rules. Whatever else happens, nothing is left.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from scene_pipeline.api.bodies import timely_chunks
from scene_pipeline.api.refusals import NOT_ADMITTED, busy, refusal
from scene_pipeline.errors import StorageError
from scene_pipeline.storage.served import Incoming, ServedStore, UploadPermit

MAX_UPLOADS = 16
"""At once; more are asked to come again."""
IDLE_SECONDS = 30.0
"""The longest silence in an upload."""
TOTAL_SECONDS = 3600.0
"""5 GB at 12 Mbit/s; longer ones belong to somebody who holds the place."""


class _RefusedError(Exception):
    """What was sent breaks the rules."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class UploadEndpoint:
    """Takes uploads for one store.

    Args:
        store: Permits them, and keeps them.
        idle_seconds: The longest silence in an upload.
        total_seconds: The longest that one takes.
    """

    def __init__(
        self,
        store: ServedStore,
        *,
        idle_seconds: float = IDLE_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._store = store
        self._idle_seconds = idle_seconds
        self._total_seconds = total_seconds
        self._under_way = 0

    async def __call__(self, request: Request) -> Response:
        """Answer PUT: 201, or 4xx and nothing is kept."""
        key = request.path_params["key"]
        permit = self._store.upload_permit(key, request.query_params)
        if permit is None:
            return PlainTextResponse(NOT_ADMITTED, status_code=403)
        if self._under_way >= MAX_UPLOADS:
            return busy()
        self._under_way += 1
        try:
            _check_announced(request.headers, permit)
            async with self._incoming(key) as incoming:
                await self._take(request, incoming, permit.max_bytes)
                await run_sync(incoming.keep)
        except _RefusedError as refused:
            return PlainTextResponse(f"{refused.reason}\n", status_code=refused.status)
        except StorageError as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            self._under_way -= 1
        return Response(status_code=201)

    @asynccontextmanager
    async def _incoming(self, key: str) -> AsyncIterator[Incoming]:
        incoming = await run_sync(self._store.receive, key)
        try:
            yield incoming
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(incoming.discard)

    async def _take(self, request: Request, incoming: Incoming, max_bytes: int) -> None:
        received = 0
        try:
            async for chunk in timely_chunks(
                request, idle_seconds=self._idle_seconds, total_seconds=self._total_seconds
            ):
                received += len(chunk)
                if received > max_bytes:
                    raise _too_large(max_bytes)
                await run_sync(incoming.write, chunk)
        except TimeoutError:
            raise _RefusedError(408, "The upload took too long.") from None
        if not received:
            raise _RefusedError(400, "The file is empty.")


def _check_announced(headers: Headers, permit: UploadPermit) -> None:
    """Refuse what can be told before anything is received."""
    if headers.get("content-type") != permit.content_type:
        raise _RefusedError(415, f"The type must be {permit.content_type}.")
    if int(headers.get("content-length", "0")) > permit.max_bytes:
        raise _too_large(permit.max_bytes)


def _too_large(max_bytes: int) -> _RefusedError:
    return _RefusedError(413, f"At most {max_bytes} bytes are permitted.")
