"""Who may use the library over HTTP: whoever has the token, and nobody where there is none.

Belongs here: the comparison. Does not belong here: routes; signed addresses of objects
(`storage.signing`).
"""

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from scene_pipeline.api.errors import UNAUTHORIZED, error_answer
from scene_pipeline.errors import UsageError

_SCHEME = "bearer"


class TokenRequired:
    """Lets requests with the token pass, whatever they ask for.

    Args:
        app: What they pass to.
        token: SCENE_PIPELINE_API_TOKEN.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._digest = _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it before anything is read of its body."""
        if scope["type"] == "http" and not self._admits(Headers(scope=scope)):
            refusal = UsageError(
                "This address needs the token of this installation.",
                code=UNAUTHORIZED,
                next_action="Send `Authorization: Bearer` with SCENE_PIPELINE_API_TOKEN.",
            )
            await error_answer(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admits(self, headers: Headers) -> bool:
        given = headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        # Digests are of one length, so that the comparison tells nothing of the token's.
        is_same = hmac.compare_digest(_digest(token.strip().encode("latin-1")), self._digest)
        return is_same and scheme.lower() == _SCHEME


async def closed(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand in place of the library where no token is set."""
    refusal = UsageError(
        "The library is not open over HTTP: SCENE_PIPELINE_API_TOKEN is not set.",
        code="api_closed",
        next_action="Set it to at least 16 characters and start `scene-pipeline up` again.",
    )
    await error_answer(refusal)(scope, receive, send)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
