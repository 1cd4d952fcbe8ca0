"""`GET /frames/<key>`: the local store's objects, with the headers that make them safe and fast.

Belongs here: keys into responses. Does not belong here: the files themselves (`storage.local`).

An object is immutable, so its `ETag` is strong, and where the key carries the content's digest the
answer may be kept for ever. Types come from a closed list; what is not a picture is offered as a
download, and every answer forbids sniffing and scripts (`api.app`).
"""

import re

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import Scope

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import IMMUTABLE_CACHE_CONTROL
from scene_pipeline.storage.keys import INLINE_TYPES, content_digest_in, content_type_of
from scene_pipeline.storage.local import LocalStore

REVALIDATED_CACHE_CONTROL = "public, no-cache"

_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-\d{1,18})")


class FrameEndpoint:
    """Answers for the objects of one local store.

    Args:
        store: Where the files are.
    """

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    async def __call__(self, request: Request) -> Response:
        """Answer GET and HEAD; whatever is not an object of the store is simply not found."""
        key = request.path_params["key"]
        try:
            path = await run_sync(self._store.locate, key)
            facts = await run_sync(path.stat)
        except (StorageError, OSError):
            return PlainTextResponse("Not found.\n", status_code=404)
        digest = content_digest_in(key)
        etag = f'"{digest or f"{facts.st_mtime_ns:x}-{facts.st_size:x}"}"'
        headers = {
            "ETag": etag,
            "Cache-Control": IMMUTABLE_CACHE_CONTROL if digest else REVALIDATED_CACHE_CONTROL,
        }
        if _is_known_to_reader(request.headers, etag):
            return Response(status_code=304, headers=headers)
        _drop_unusable_range(request.scope)
        content_type = content_type_of(key)
        return FileResponse(
            path,
            media_type=content_type,
            headers=headers,
            stat_result=facts,
            filename=path.name,
            content_disposition_type="inline" if content_type in INLINE_TYPES else "attachment",
        )


def _is_known_to_reader(headers: Headers, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return etag in known or known == ["*"]


def _drop_unusable_range(scope: Scope) -> None:
    """Leave one sound range in the request, or none.

    Starlette would answer a malformed range with 400 and several ranges with a multipart body; the
    standard lets a server ignore both, and no reader of pictures needs either.
    """
    headers = Headers(scope=scope)
    match = _ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is not None:
        first, last = match.groups()
        if first is None or last is None or int(first) <= int(last):
            return
    scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range"]
