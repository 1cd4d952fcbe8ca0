"""`GET /frames/<key>`: the objects of a store of our own, with headers for safety and for speed.

Belongs here: keys into responses. Does not belong here: bytes (`storage`), and who may read
(`storage.served`).

An object is immutable, so its `ETag` is strong, and where the key carries the content's digest the
answer may be kept for ever. Types come from a closed list; what is not a picture, a film, a sound
or a page of our own is offered as a download, and every answer forbids sniffing and scripts
(`api.app`).
"""

from collections.abc import AsyncIterator, Iterator

from anyio import CancelScope
from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from scene_pipeline.api.ranges import part_asked_for
from scene_pipeline.api.refusals import NOT_ADMITTED, refusal
from scene_pipeline.errors import StorageError
from scene_pipeline.scenes.identity import is_report_page
from scene_pipeline.storage.base import IMMUTABLE_CACHE_CONTROL
from scene_pipeline.storage.keys import INLINE_TYPES, content_digest_in, content_type_of
from scene_pipeline.storage.served import ServedStore

REVALIDATED_CACHE_CONTROL = "public, no-cache"
PRIVATE_CACHE_CONTROL = "private, no-cache"
"""What only the holder of an address or of the token may read is kept by nobody else."""
PAGE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""Of our own pages, which are shown in place: what stands in them is seen, nothing is run or asked
for, and they are no part of this server for anything else that it shows."""


class FrameEndpoint:
    """Answers for the objects of one store.

    Args:
        store: Where they are.
    """

    def __init__(self, store: ServedStore) -> None:
        self._store = store

    async def __call__(self, request: Request) -> Response:
        """Answer GET and HEAD; whatever is not an object of the store is simply not found."""
        key, query = request.path_params["key"], request.query_params
        if not self._store.admits_reader(key, query):
            return PlainTextResponse(NOT_ADMITTED, status_code=403)
        try:
            return await self.shown(request, key, is_private="signature" in query)
        except StorageError as error:
            return refusal(error)

    async def shown(self, request: Request, key: str, *, is_private: bool) -> Response:
        """Answer GET and HEAD of somebody who may read the object.

        Args:
            request: Whose conditions hold.
            key: Of the object.
            is_private: Whether nobody else may keep the answer.

        Raises:
            StorageError: code "object_missing", or the store cannot be read.
        """
        facts = await run_sync(self._store.served, key)
        digest = content_digest_in(key)
        etag = f'"{digest or facts.version}"'
        headers = {"ETag": etag, "Cache-Control": _cache_control(digest, is_private=is_private)}
        if _is_known_to_reader(request.headers, etag):
            return Response(status_code=304, headers=headers)
        part = part_asked_for(request.headers, etag, facts.size_bytes)
        return await self._sent(request.method, key, facts.size_bytes, part, headers)

    async def _sent(
        self, method: str, key: str, size_bytes: int, part: range | None, headers: dict[str, str]
    ) -> Response:
        """The object, or the part of it that is asked for."""
        sent = range(size_bytes) if part is None else part
        if part is not None:
            if not part:
                unsatisfied = {"Content-Range": f"bytes */{size_bytes}"}
                return PlainTextResponse("No such part.\n", status_code=416, headers=unsatisfied)
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size_bytes}"
        headers |= _entity_headers(key, sent)
        status = 200 if part is None else 206
        if method == "HEAD" or not sent:
            return Response(status_code=status, headers=headers)
        chunks = self._store.part(key, sent.start, len(sent))
        # Before the head is sent, since that could not be taken back.
        first = await run_sync(next, chunks, b"")
        return StreamingResponse(_body(first, chunks), status_code=status, headers=headers)


async def _body(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    chunk = first
    try:
        while chunk:
            yield chunk
            chunk = await run_sync(next, rest, b"")
    finally:
        with CancelScope(shield=True):
            await run_sync(_close, rest)


def _close(chunks: Iterator[bytes]) -> None:
    # Generators, all of them; the type of an iterator knows no end before its end.
    getattr(chunks, "close", lambda: None)()


def _cache_control(digest: str | None, *, is_private: bool) -> str:
    if is_private:
        return PRIVATE_CACHE_CONTROL
    return IMMUTABLE_CACHE_CONTROL if digest else REVALIDATED_CACHE_CONTROL


def _entity_headers(key: str, sent: range) -> dict[str, str]:
    content_type = content_type_of(key)
    is_page = is_report_page(key)
    disposition = "inline" if is_page or content_type in INLINE_TYPES else "attachment"
    policy = {"Content-Security-Policy": PAGE_POLICY} if is_page else {}
    return policy | {
        "Content-Type": content_type,
        "Content-Length": str(len(sent)),
        "Content-Disposition": f'{disposition}; filename="{key.rpartition("/")[2]}"',
        "Accept-Ranges": "bytes",
    }


def _is_known_to_reader(headers: Headers, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return etag in known or known == ["*"]
