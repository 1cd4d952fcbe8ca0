"""Pictures to go by, brought into Fal's own storage (FAL_USE_UPLOAD).

Belongs here: one upload, and to whom its parts may be sent. Does not belong here: when one is
needed (`pipeline.keeping.references`), and the paid request (`fal_submit`).

fal-client does the upload by its storage `fal`: it asks rest.fal.ai for an address and puts the
bytes there. Its newer storage asks for its token with a client of its own making, which knows
neither our certificate roots nor our proxy. An upload costs nothing, so that its repetitions are
harmless; a picture that many scenes go by is uploaded once in a while all the same.
"""

import functools
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from scene_pipeline.errors import AGAIN, ProviderError
from scene_pipeline.providers.fal_transport import KeyedTransport, client_over
from scene_pipeline.providers.wire import timeouts

if TYPE_CHECKING:
    from fal_client import SyncClient

UPLOAD_HOSTS: Final = ("storage.googleapis.com", ".fal.media", ".fal.ai", ".fal.run")
"""Where Fal's answer may send a picture's bytes; those beginning with a dot with all below them."""
RESULT_HOSTS: Final = ("storage.googleapis.com", "fal.media", ".fal.media")
"""Where an uploaded picture may lie."""
MAX_REMEMBERED = 256
"""Pictures whose addresses are remembered, those used last."""
REMEMBERED_SECONDS = 3600.0
"""How long an address is used again; Fal keeps what is uploaded for far longer."""
_EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class UploadTransport(httpx.BaseTransport):
    """Sends the question for an address with the key, and the bytes without it.

    Args:
        keyed: Refuses every host that is not Fal's.
        bare: The way out without a key.
        timeout_seconds: Longest silence within either; fal-client itself would wait for ever.
    """

    def __init__(
        self, keyed: KeyedTransport, bare: httpx.BaseTransport, *, timeout_seconds: float
    ) -> None:
        self._keyed = keyed
        self._bare = bare
        self.timeout_seconds = timeout_seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one of an upload's two requests.

        Raises:
            ProviderError: code "foreign_host": the bytes would go to somebody else; nothing was
                sent.
        """
        request.extensions = {
            **request.extensions,
            "timeout": timeouts(self.timeout_seconds).as_dict(),
        }
        if request.method == "POST":
            return self._keyed.handle_request(request)
        if not _is_at(str(request.url), UPLOAD_HOSTS):
            raise ProviderError(
                f"Fal named {request.url.host or 'no host'} as the place for an upload.",
                code="foreign_host",
                next_action="Set FAL_USE_UPLOAD=false: Fal then fetches reference pictures itself.",
                charge="not_charged",
            )
        request.headers.pop("Authorization", None)
        return self._bare.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._keyed.close()
        self._bare.close()


class RememberedAddresses:
    """Addresses of what was uploaded by this process, by content and type; thread safe.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._addresses: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def get(self, content: tuple[str, str]) -> str | None:
        """The address of a picture; None where it is not known, or for too long."""
        with self._lock:
            url, until = self._addresses.get(content, ("", 0.0))
            if not url or self._clock() >= until:
                return None
            self._addresses.move_to_end(content)
            return url

    def keep(self, content: tuple[str, str], url: str) -> None:
        """Remember an address, and forget the one that was used longest ago."""
        with self._lock:
            self._addresses[content] = url, self._clock() + REMEMBERED_SECONDS
            self._addresses.move_to_end(content)
            if len(self._addresses) > MAX_REMEMBERED:
                self._addresses.popitem(last=False)


class FalUploads:
    """Puts pictures into Fal's storage.

    Args:
        transport: Decides who gets the key and who the bytes.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, transport: UploadTransport, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._remembered = RememberedAddresses(clock)

    def upload(self, data: bytes, content_type: str) -> str:
        """Upload a picture; gives the address at which Fal's models find it.

        The same picture is uploaded once an hour, or where many others came in between.

        Raises:
            ProviderError: code "upload_failed" (`retryable`), or "foreign_host".
        """
        content = hashlib.sha256(data).hexdigest(), content_type
        url = self._remembered.get(content)
        if url is None:
            url = self._upload(data, content_type, content[0])
            self._remembered.keep(content, url)
        return url

    def _upload(self, data: bytes, content_type: str, sha256: str) -> str:
        name = f"{sha256[:16]}.{_EXTENSIONS.get(content_type, 'bin')}"
        try:
            url = str(
                self._client.upload(
                    data, content_type, name, repository="fal", fallback_repository=[]
                )
            )
        except ProviderError:
            raise
        except Exception as error:
            # Whatever fal-client makes of it: nothing was paid, and the same can be tried again.
            raise _failed(type(error).__name__) from error
        if not _is_at(url, RESULT_HOSTS):
            raise _failed("its answer names no address of its own")
        return url

    @functools.cached_property
    def _client(self) -> "SyncClient":
        return client_over(self._transport, self._transport.timeout_seconds)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def _is_at(url: str, hosts: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme == "https" and parts.port in {None, 443} and not parts.username
    except ValueError:
        return False
    host = parts.hostname or ""
    return is_plain and any(
        host.endswith(known) if known.startswith(".") else host == known for known in hosts
    )


def _failed(reason: str) -> ProviderError:
    return ProviderError(
        f"A reference picture could not be uploaded to Fal: {reason}.",
        code="upload_failed",
        next_action=f"Try once more with {AGAIN}, or set FAL_USE_UPLOAD=false where Fal can reach"
        " your store.",
        retryable=True,
        charge="not_charged",
    )
