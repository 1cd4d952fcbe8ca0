"""Ways into the library that return at once: addresses, presigned uploads, and how they stand.

Mode of operation: every way in is a row of `asset_imports`, which a Dagster run carries out. A
caller is told the row's id, and may wait for its end for a bounded time as a convenience.

Belongs here: routes. Does not belong here: a file as the body (`api.library_files`), progress as it
happens (`api.library_events`), and importing (`pipeline.library.imports`).
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scene_pipeline.api.bodies import read_json
from scene_pipeline.api.errors import error_document, status_of_refused_file
from scene_pipeline.api.library_assets import answer
from scene_pipeline.api.library_fields import (
    DETAIL_FIELDS,
    MAX_URL_LENGTH,
    Fields,
    import_id_of,
    raise_no_import,
    read_details,
)
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline.api.places import Places
from scene_pipeline.database.assets import get_asset
from scene_pipeline.database.imports import ImportRequest, ImportRow, ask_for_imports, get_import
from scene_pipeline.media.urls import UrlPolicy, check_url
from scene_pipeline.pipeline.library.showing import import_json
from scene_pipeline.pipeline.library.uploads import UploadRequest, begin_upload, complete_upload
from scene_pipeline.providers.registry import result_hosts
from scene_pipeline.scenes.identity import AssetKind
from scene_pipeline.storage.base import PresignedUpload
from scene_pipeline.storage.keys import MAX_FILE_BYTES

MAX_WAIT_SECONDS = 30
MAX_WAITING = 32
"""Requests that wait at once; more are asked to come again."""
POLL_SECONDS = 0.5
"""How often a row that somebody waits for is looked at."""
ENDED = frozenset({"done", "failed", "expired"})
_MEDIA: dict[str, AssetKind] = {"image": "image", "video": "video", "audio": "audio"}


class ImportDesk:
    """Tells of imports, and waits for them.

    Args:
        library: The parts, opened when they are needed.
    """

    def __init__(self, library: LibraryServices) -> None:
        self._library = library
        self._waiting = Places(MAX_WAITING, "requests that wait")

    async def row(self, import_id: UUID) -> ImportRow:
        """An import as it stands.

        Raises:
            NotFoundError: code "import_unknown".
        """
        async with self._library.connection() as conn:
            row = await get_import(conn, import_id)
        return row or raise_no_import(import_id)

    async def accepted(self, request: Request, row: ImportRow, wait_seconds: int) -> Response:
        """The answer for what is to come in: where to ask, or what became of it meanwhile.

        Args:
            request: Given up waiting for when the other side goes away.
            row: As it stands.
            wait_seconds: 0 to answer at once.
        """
        if wait_seconds and row.state not in ENDED:
            with self._waiting.taken():
                row = await self._end_of(request, row, wait_seconds)
        if wait_seconds and row.state in ENDED:
            return await self._result(row)
        return answer(
            {
                "import_id": str(row.id),
                "batch_id": str(row.batch_id),
                "state": row.state,
                **self.links(row.id),
            },
            202,
        )

    def links(self, import_id: UUID) -> dict[str, str]:
        """Where an import is told of."""
        status = f"{self._library.settings.public_url}/api/imports/{import_id}"
        return {"status_url": status, "events_url": f"{status}/events"}

    async def _end_of(self, request: Request, row: ImportRow, wait_seconds: int) -> ImportRow:
        ends = anyio.current_time() + wait_seconds
        while row.state not in ENDED and (left := ends - anyio.current_time()) > 0:
            await anyio.sleep(min(POLL_SECONDS, left))
            if self._library.is_ending() or await request.is_disconnected():
                break
            row = await self.row(row.id)
        return row

    async def _result(self, row: ImportRow) -> Response:
        if row.asset_id is None:
            code = row.error_code or "import_failed"
            return error_document(
                status_of_refused_file(code),
                code,
                row.error_message or "The import came to nothing.",
                row.error_next_action or "Ask for it again.",
            )
        async with self._library.connection() as conn:
            asset = await get_asset(conn, row.asset_id, with_deleted=True)
        return answer(
            {
                "id": row.asset_id,
                "url": asset.url if asset else None,
                "width": asset.width if asset else None,
                "height": asset.height if asset else None,
                "size": asset.size_bytes if asset else None,
                "mime": asset.mime_type if asset else None,
                "is_duplicate": row.is_duplicate,
                "import_id": str(row.id),
            }
        )


class ImportRoutes:
    """Addresses and presigned uploads.

    Args:
        library: The parts, opened when they are needed.
        desk: Tells of what was asked for.
    """

    def __init__(self, library: LibraryServices, desk: ImportDesk) -> None:
        self._library = library
        self._desk = desk
        settings = library.settings
        self._policy = UrlPolicy.of(result_hosts(settings), settings.trusted_private_hosts)

    def routes(self) -> list[Route]:
        """All of them, below the place where the library is mounted."""
        return [
            Route("/assets/from-url", self.from_url, methods=["POST"]),
            Route("/uploads", self.begin, methods=["POST"]),
            Route("/uploads/{import_id}/complete", self.complete, methods=["POST"]),
            Route("/imports/{import_id}", self.show, methods=["GET"]),
        ]

    async def from_url(self, request: Request) -> Response:
        """Ask for an address to be imported."""
        wait = read_wait(Fields.of_query(request.query_params, ("wait",)))
        fields = Fields(await read_json(request), DETAIL_FIELDS | {"url", "kind"})
        url = fields.required("url", max_length=MAX_URL_LENGTH)
        fields.required("kind")
        kind = fields.kind() or "image"
        check_url(url, self._policy)  # told now rather than by a run that fails
        async with self._library.connection() as conn:
            details = await read_details(conn, fields)
        async with self._library.connection() as conn:
            asked = await ask_for_imports(conn, [ImportRequest(url, kind, **details)])
        return await self._desk.accepted(request, asked.imports[0], wait)

    async def begin(self, request: Request) -> Response:
        """Permit one upload straight into the store."""
        Fields.of_query(request.query_params, ())
        known = DETAIL_FIELDS | {"kind", "content_type", "size_bytes"}
        fields = Fields(await read_json(request), known)
        content_type = fields.required("content_type")
        size_bytes = fields.integer("size_bytes", least=0, most=MAX_FILE_BYTES)
        services = await self._library.get()
        async with self._library.connection() as conn:
            details = await read_details(conn, fields)
        wanted = UploadRequest(fields.kind() or kind_of_type(content_type), content_type, **details)
        import_id, upload = await begin_upload(services, replace(wanted, size_bytes=size_bytes))
        links = self._desk.links(import_id)
        base = self._library.settings.public_url
        return answer(
            {
                "import_id": str(import_id),
                "upload": _upload_json(upload),
                "complete_url": f"{base}/api/uploads/{import_id}/complete",
                **links,
            },
            201,
        )

    async def complete(self, request: Request) -> Response:
        """Confirm that an upload has arrived."""
        wait = read_wait(Fields.of_query(request.query_params, ("wait",)))
        row = await complete_upload(await self._library.get(), import_id_of(request))
        return await self._desk.accepted(request, row, wait)

    async def show(self, request: Request) -> Response:
        """How an import stands."""
        Fields.of_query(request.query_params, ())
        row = await self._desk.row(import_id_of(request))
        return answer(
            {**import_json(row), "batch_id": str(row.batch_id)} | self._desk.links(row.id)
        )


def read_wait(fields: Fields) -> int:
    """How long a caller wants to wait, in seconds."""
    return fields.integer("wait", least=0, most=MAX_WAIT_SECONDS) or 0


def kind_of_type(content_type: str) -> AssetKind:
    """The kind that a media type suggests; what is no picture, film or sound is a document."""
    return _MEDIA.get(content_type.partition("/")[0], "document")


def _upload_json(upload: PresignedUpload) -> dict[str, Any]:
    return {
        "method": upload.method,
        "url": upload.url,
        "headers": dict(upload.headers),
        "fields": dict(upload.fields),
        "expires_at": upload.expires_at.isoformat(),
        "max_bytes": upload.max_bytes,
    }
