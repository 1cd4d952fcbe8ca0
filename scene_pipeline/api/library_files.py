"""`POST /api/assets`: a file as the body, on its way into the library.

Mode of operation: it is an upload whose bytes come through this server. They go to a file of this
process chunk by chunk, from there into the store once all of them are there, and then the upload is
confirmed as any other is; a Dagster run looks at it. What does not arrive whole is given up.

Belongs here: receiving. Does not belong here: uploads straight into the store, which cost this
server nothing (`api.library_imports`).
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import anyio
import psycopg
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from scene_pipeline.api.bodies import announced_bytes, cut, media_type, timely_chunks, too_slow
from scene_pipeline.api.library_fields import DETAIL_FIELDS, Fields, read_details
from scene_pipeline.api.library_imports import ImportDesk, kind_of_type, read_wait
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline.api.places import Places
from scene_pipeline.database.imports import ImportRow
from scene_pipeline.errors import ScenePipelineError, StorageError, UsageError
from scene_pipeline.pipeline.library.uploads import (
    UploadRequest,
    begin_upload,
    complete_upload,
    give_up,
)
from scene_pipeline.pipeline.library.workspace import workspace
from scene_pipeline.pipeline.services import Services

MAX_FILES = 8
"""At once; more are asked to come again."""
IDLE_SECONDS = 30.0
"""The longest silence in a body."""
TOTAL_SECONDS = 3600.0
"""As of uploads to a store of our own (`api.uploads`)."""
GIVE_UP_SECONDS = 10.0
"""What giving up may take of a server that is about to end; the sweep does what is left."""


@dataclass(frozen=True, slots=True)
class _Received:
    """A file that arrived whole."""

    path: Path
    sha256: str


class FileRoutes:
    """Files as bodies.

    Args:
        library: The parts, opened when they are needed.
        desk: Tells of what was sent.
        idle_seconds: The longest silence in a body.
    """

    def __init__(
        self, library: LibraryServices, desk: ImportDesk, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._library = library
        self._desk = desk
        self._idle_seconds = idle_seconds
        self._places = Places(MAX_FILES, "files")

    def routes(self) -> list[Route]:
        """All of them, below the place where the library is mounted."""
        return [Route("/assets", self.add, methods=["POST"])]

    async def add(self, request: Request) -> Response:
        """Take one file; everything else is said in the query."""
        known = (DETAIL_FIELDS - {"metadata"}) | {"kind", "wait"}
        fields = Fields.of_query(request.query_params, known)
        wait = read_wait(fields)
        with self._places.taken():
            row = await self._added(request, fields)
        return await self._desk.accepted(request, row, wait)

    async def _added(self, request: Request, fields: Fields) -> ImportRow:
        content_type = media_type(request)
        services = await self._library.get()
        async with self._library.connection() as conn:
            details = await read_details(conn, fields)
        wanted = UploadRequest(fields.kind() or kind_of_type(content_type), content_type, **details)
        if "content-length" in request.headers:
            wanted = replace(wanted, size_bytes=announced_bytes(request))
        import_id, permission = await begin_upload(services, wanted)
        async with _given_up_on_error(services, import_id):
            row = await self._desk.row(import_id)
            async with self._received(request, permission.max_bytes) as received:
                await services.call(
                    services.store.put_file,
                    row.upload_key or "",
                    received.path,
                    content_type=content_type,
                    sha256=received.sha256,
                )
            return await complete_upload(services, import_id)

    @asynccontextmanager
    async def _received(self, request: Request, max_bytes: int) -> AsyncIterator[_Received]:
        """The body as a file, removed at the end of the block."""
        async with AsyncExitStack() as opened:
            folder = ExitStack()
            opened.push_async_callback(_in_thread, folder)
            home = self._library.settings.home_directory
            path = (await run_sync(folder.enter_context, workspace(home))) / "body"
            try:
                sha256 = await self._written(request, path, max_bytes)
            except TimeoutError as error:
                raise too_slow() from error
            except ClientDisconnect as error:
                raise cut() from error
            except OSError as error:
                raise StorageError(
                    "The file cannot be kept on this server's disk.",
                    code="storage_full",
                    next_action="Make room in SCENE_PIPELINE_HOME, then send it again.",
                    retryable=True,
                ) from error
            yield _Received(path, sha256)

    async def _written(self, request: Request, path: Path, max_bytes: int) -> str:
        digest, size_bytes = hashlib.sha256(), 0
        async with await anyio.open_file(path, "xb") as file:
            async for chunk in timely_chunks(
                request, idle_seconds=self._idle_seconds, total_seconds=TOTAL_SECONDS
            ):
                size_bytes += len(chunk)
                if size_bytes > max_bytes:
                    raise UsageError(
                        f"The file has more than the {max_bytes} bytes that are taken.",
                        code="too_large",
                        next_action="Send a smaller one, or raise ASSET_MAX_FILE_MB or"
                        " ASSET_MAX_IMAGE_MB.",
                    )
                digest.update(chunk)
                await file.write(chunk)
        if not size_bytes:
            raise UsageError(
                "The file is empty.", code="file_empty", next_action="Send it as the body."
            )
        return digest.hexdigest()


@asynccontextmanager
async def _given_up_on_error(services: Services, import_id: UUID) -> AsyncIterator[None]:
    """Give up an upload that did not arrive, so that it does not wait for a day to be swept."""
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        told = error if isinstance(error, ScenePipelineError) else _interrupted()
        # Where even that does not work, what went wrong first is what is told.
        with (
            anyio.move_on_after(GIVE_UP_SECONDS, shield=True),
            suppress(psycopg.Error, ScenePipelineError),
        ):
            await give_up(
                services,
                import_id,
                code=told.error_code,
                message=told.message,
                next_action=told.next_action,
            )
        raise


def _interrupted() -> UsageError:
    return UsageError(
        "The file did not arrive: the server ended, or lost its database.",
        code="upload_interrupted",
        next_action="Send it again.",
    )


async def _in_thread(folder: ExitStack) -> None:
    with anyio.CancelScope(shield=True):
        await run_sync(folder.close)
