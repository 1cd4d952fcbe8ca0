"""What somebody without credentials gets from a store, asked over plain HTTP.

Belongs here: reading an address as anybody would, and sending a form as a browser would, within
bounds and through our own way out. Does not belong here: addresses that we were given by others
(`media.SafeFetcher`): these are the store's own.
"""

import secrets
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from scene_pipeline.egress import tls_context
from scene_pipeline.settings import Settings
from scene_pipeline.storage.s3_client import proxy_for

ANSWER_SECONDS = 10.0


class AnonymousReader:
    """Asks a store without credentials.

    Args:
        settings: Trust, proxy and which hosts lie on this side of it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, url: str, max_bytes: int) -> bytes | str:
        """The first bytes that an address gives, or in words why it gives none.

        Args:
            url: Of the store.
            max_bytes: One more than this is read, so that a longer answer shows.
        """
        answer = self._ask(Request(url), max_bytes + 1)  # noqa: S310 (http and https handlers only)
        if isinstance(answer, tuple):
            status, body = answer
            return body if status < 300 else f"it answers with status {status}"
        return answer

    def status(self, url: str) -> int | str:
        """The status with which an address answers, or in words why it does not.

        Args:
            url: Of the store; nobody is followed elsewhere.
        """
        answer = self._ask(Request(url), 0)  # noqa: S310 (http and https handlers only)
        return answer[0] if isinstance(answer, tuple) else answer

    def submit(self, url: str, fields: Mapping[str, str], data: bytes) -> int | None:
        """Send a form with a file, as presigned uploads are made; None where nobody answers.

        Returns:
            The status.
        """
        boundary = secrets.token_hex(16)
        request = Request(  # noqa: S310 (http and https handlers only)
            url,
            data=_form(boundary, fields, data),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
            method="POST",
        )
        answer = self._ask(request, 0)
        return answer[0] if isinstance(answer, tuple) else None

    def _ask(self, request: Request, max_bytes: int) -> tuple[int, bytes] | str:
        opener = OpenerDirector()
        proxy = proxy_for(self._settings, request.full_url)
        for handler in (
            ProxyHandler({"http": proxy, "https": proxy} if proxy else {}),
            HTTPHandler(),
            HTTPSHandler(context=tls_context(self._settings.ssl_cert_file)),
            HTTPDefaultErrorHandler(),
            HTTPErrorProcessor(),
        ):
            opener.add_handler(handler)
        try:
            with opener.open(request, timeout=ANSWER_SECONDS) as answer:
                return answer.status, answer.read(max_bytes)
        except HTTPError as error:
            error.close()
            return error.code, b""
        except URLError as error:
            return f"no connection ({type(error.reason).__name__})"
        except (OSError, HTTPException) as error:
            return f"no answer ({type(error).__name__})"


def _form(boundary: str, fields: Mapping[str, str], data: bytes) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    file = 'Content-Disposition: form-data; name="file"; filename="file"'
    head = f"{''.join(parts)}--{boundary}\r\n{file}\r\n\r\n"
    return head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
