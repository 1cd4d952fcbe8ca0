"""`GET /media/<key>`: the stable address of an object that nobody may read without a signature.

Belongs here: the redirect to a fresh signed address. Does not belong here: signatures, and which
addresses go into documents (`storage`).

To sign costs no request to the store, so neither does a redirect: whether the object is there, the
store itself tells whoever follows.
"""

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from scene_pipeline.api.refusals import refusal
from scene_pipeline.errors import StorageError
from scene_pipeline.scenes.identity import READABLE_PREFIXES
from scene_pipeline.storage.base import SIGNED_URL_SECONDS, ObjectStore
from scene_pipeline.storage.keys import content_type_of
from scene_pipeline.storage.served import ServedStore

_SHOWN = tuple(f"{prefix}/" for prefix in READABLE_PREFIXES)
REDIRECT_CACHE_SECONDS = SIGNED_URL_SECONDS // 12
"""How long a browser may go on using one signed address: well below the time that it works."""


class GatewayEndpoint:
    """Redirects to the objects of any store.

    Args:
        store: Where they are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def __call__(self, request: Request) -> Response:
        """Answer GET and HEAD; a key without an address is not found."""
        key: str = request.path_params["key"]
        if not key.startswith(_SHOWN):
            return PlainTextResponse("object_missing\n", status_code=404)
        try:
            return await self.led_to(request.method, key)
        except StorageError as error:
            return refusal(error)

    async def led_to(self, method: str, key: str) -> Response:
        """Answer somebody who may read the object.

        Args:
            method: GET or HEAD.
            key: Of the object.

        Raises:
            StorageError: The store has no signed addresses, or cannot be asked.
        """
        if method == "HEAD" and not isinstance(self._store, ServedStore):
            return await self._facts(key)
        address = await run_sync(self._store.url, key, "signed")
        headers = {
            "Location": address,
            "Cache-Control": f"private, max-age={REDIRECT_CACHE_SECONDS}",
            "Referrer-Policy": "no-referrer",
        }
        return Response(status_code=302, headers=headers)

    async def _facts(self, key: str) -> Response:
        """What HEAD would tell at the store, where an address is signed for GET alone."""
        found = await run_sync(self._store.head, key)
        if found is None:
            return Response(status_code=404)
        headers = {
            "Content-Length": str(found.size_bytes),
            "Content-Type": content_type_of(key),
            "Cache-Control": "private, no-cache",
        }
        return Response(status_code=200, headers=headers)
