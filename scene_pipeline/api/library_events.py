"""`GET /api/imports/<id>/events`: what happens to an import, as it happens, as server-sent events.

Every event is a row of `pipeline_events`, told in the order of the rows; nothing is made up between
them. A reader that comes back with `Last-Event-ID` goes on exactly there.

Belongs here: the stream. Does not belong here: who writes the rows (`database.import_steps`).
"""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from uuid import UUID

import anyio
import psycopg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from scene_pipeline.api.errors import NO_STORE
from scene_pipeline.api.library_fields import Fields, import_id_of, raise_no_import
from scene_pipeline.api.library_imports import ENDED, POLL_SECONDS
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline.api.places import Places
from scene_pipeline.database.import_feed import ImportFeedRow, events_after
from scene_pipeline.database.imports import get_import
from scene_pipeline.database.rows import MAX_BIGINT

MAX_STREAMS = 32
"""At once; more are asked to come again."""
STREAM_SECONDS = 900.0
"""The longest that one stream lasts; a reader then comes back by itself and misses nothing."""
HEARTBEAT_SECONDS = 15.0
"""The longest silence, so that nobody in between takes the connection for dead."""
_PAGE = 200
_COME_BACK = "retry: 2000\n\n"
_HEARTBEAT = ": still here\n\n"


class EventRoutes:
    """Progress of imports.

    Args:
        library: The parts, opened when they are needed.
        heartbeat_seconds: The longest silence.
    """

    def __init__(
        self, library: LibraryServices, *, heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._library = library
        self._heartbeat_seconds = heartbeat_seconds
        self._places = Places(MAX_STREAMS, "streams of events")

    def routes(self) -> list[Route]:
        """All of them, below the place where the library is mounted."""
        return [Route("/imports/{import_id}/events", self.events, methods=["GET"])]

    async def events(self, request: Request) -> Response:
        """Answer with a stream that ends when the import does."""
        Fields.of_query(request.query_params, ())
        import_id = import_id_of(request)
        known = Fields({"Last-Event-ID": request.headers.get("last-event-id")}, ("Last-Event-ID",))
        after = known.integer("Last-Event-ID", least=0, most=MAX_BIGINT)
        is_ended, found = await self._look(import_id, after or 0)
        if after is not None and is_ended and not found:
            # What tells a browser's EventSource not to come back.
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return _EventStream(self._told(import_id, after or 0), self._places)

    async def _look(self, import_id: UUID, after: int) -> tuple[bool, list[ImportFeedRow]]:
        async with self._library.connection() as conn:
            # The row first: an import that has ended writes nothing more.
            row = await get_import(conn, import_id) or raise_no_import(import_id)
            return row.state in ENDED, await events_after(conn, import_id, after, _PAGE)

    async def _told(self, import_id: UUID, after: int) -> AsyncIterator[str]:
        ends = anyio.current_time() + STREAM_SECONDS
        said_at = anyio.current_time()
        yield _COME_BACK
        while (now := anyio.current_time()) < ends and not self._library.is_ending():
            try:
                is_ended, found = await self._look(import_id, after)
            except psycopg.OperationalError:
                return  # the reader comes back
            for event in found:
                yield _event_text(import_id, event)
                after, said_at = event.id, now
            if is_ended and len(found) < _PAGE:
                return
            if now - said_at >= self._heartbeat_seconds:
                yield _HEARTBEAT
                said_at = now
            await anyio.sleep(POLL_SECONDS)


class _EventStream(StreamingResponse):
    """A stream that holds a place as long as it lasts, however it ends.

    Args:
        told: The text.
        places: How many there may be.
    """

    def __init__(self, told: AsyncIterator[str], places: Places) -> None:
        headers = {"Cache-Control": NO_STORE, "X-Accel-Buffering": "no"}
        super().__init__(told, headers=headers, media_type="text/event-stream")
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._places.taken():
            await super().__call__(scope, receive, send)


def _event_text(import_id: UUID, event: ImportFeedRow) -> str:
    data = {"import_id": str(import_id), "at": event.at.isoformat(), **event.data}
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n"
