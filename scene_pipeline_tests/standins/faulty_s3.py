"""An S3 server on loopback that misbehaves on request; its honest half is a dictionary.

It checks no signatures: what a server makes of credentials is SeaweedFS's part of the tests. It
stands in for servers of other makes (which ignore or refuse create-only PUTs) and for faults that
no sound server shows (damaged answers, being busy, refusing).
"""

import base64
import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

MEETING_SECONDS = 30.0

CreateOnlyHabit = Literal["honours", "ignores", "refuses"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer."""

    status: int
    code: str
    retry_after: str | None = None


@dataclass(slots=True)
class Unfinished:
    """An upload in parts."""

    path: str
    headers: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class FaultyS3:
    """The server's state; tests set the faults and read what was asked."""

    url: str = ""
    create_only: CreateOnlyHabit = "honours"
    damages_reads: int = 0
    """How many GETs from now on answer with one changed byte."""
    truncates_reads: int = 0
    """How many GETs from now on announce the whole object and send half of it."""
    damages_writes: bool = False
    refusal: Refusal | None = None
    """Answers every request, while it is set."""
    keeps_metadata: bool = True
    refused_part: int = 0
    """The part with this number is answered with 500."""
    uploads: dict[str, "Unfinished"] = field(default_factory=dict)
    """Uploads in parts that are neither completed nor aborted, by their id."""
    met_key: str = ""
    """No write of this key is kept before two have arrived, nor answered before both are kept."""
    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))
    objects: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Method and path, in the order of arrival."""
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def running_faulty_s3() -> Iterator[FaultyS3]:
    """Run the server as long as the block lasts."""
    state = FaultyS3()

    class Handler(_Handler):
        server_state = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FaultyS3

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_refused():
            return
        state = self.server_state
        sent_digest = self.headers.get("Content-MD5")
        if state.damages_writes:
            data = _damaged(data)
        if sent_digest and base64.b64decode(sent_digest) != hashlib.md5(data).digest():  # noqa: S324 (the protocol's)
            self._refuse(Refusal(400, "BadDigest"))
            return
        query = parse_qs(urlsplit(self.path).query)
        if "partNumber" in query:
            self._part(int(query["partNumber"][0]), query["uploadId"][0], data)
            return
        self._keep(self.path, data, dict(self.headers.items()))

    def do_POST(self) -> None:
        """Begin or complete an upload in parts; forms are not taken."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._is_refused():
            return
        state = self.server_state
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if "uploads" in query:
            upload_id = secrets.token_hex(8)
            state.uploads[upload_id] = Unfinished(parts.path, dict(self.headers.items()))
            self._answer(200, _xml("InitiateMultipartUploadResult", {"UploadId": upload_id}))
        elif "uploadId" in query:
            upload = state.uploads[query["uploadId"][0]]
            data = b"".join(upload.parts[number] for number in sorted(upload.parts))
            answer = _xml("CompleteMultipartUploadResult", {"ETag": "1"})
            if self._keep(upload.path, data, upload.headers, answer):
                state.uploads.pop(query["uploadId"][0])
        else:
            self._refuse(Refusal(501, "NotImplemented"))

    def _part(self, number: int, upload_id: str, data: bytes) -> None:
        if number == self.server_state.refused_part:
            self._refuse(Refusal(500, "InternalError"))
            return
        self.server_state.uploads[upload_id].parts[number] = data
        self._answer(200, b"", {"ETag": f'"{number}"'})

    def _keep(self, path: str, data: bytes, headers: dict[str, str], answer: bytes = b"") -> bool:
        state = self.server_state
        is_conditional = self.headers.get("If-None-Match") == "*"
        if is_conditional and state.create_only == "refuses":
            self._refuse(Refusal(501, "NotImplemented"))
            return False
        is_met = bool(state.met_key) and path.endswith(state.met_key)
        if is_met:
            state.meeting.wait(MEETING_SECONDS)
        kept = {"Content-Type": headers.get("Content-Type", "")}
        if state.keeps_metadata:
            kept |= {k: v for k, v in headers.items() if k.lower().startswith("x-amz-meta-")}
        with state.lock:
            if is_conditional and state.create_only == "honours" and path in state.objects:
                self._refuse(Refusal(412, "PreconditionFailed"))
                return False
            state.objects[path] = (data, kept)
        if is_met:
            state.meeting.wait(MEETING_SECONDS)
        self._answer(200, answer)
        return True

    def do_GET(self) -> None:
        if self._is_refused():
            return
        state = self.server_state
        found = state.objects.get(self.path)
        if found is None:
            self._refuse(Refusal(404, "NoSuchKey"))
            return
        data, kept = found
        announced = len(data)
        if self.command == "GET" and state.damages_reads:
            state.damages_reads -= 1
            data = _damaged(data)
        if self.command == "GET" and state.truncates_reads:
            state.truncates_reads -= 1
            data = data[: announced // 2]
            self.close_connection = True
        self._answer(200, data, kept, announced)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        if not self._is_refused():
            parts = urlsplit(self.path)
            upload_id = parse_qs(parts.query).get("uploadId", [""])[0]
            self.server_state.uploads.pop(upload_id, None)
            self.server_state.objects.pop(self.path, None)
            self._answer(204, b"")

    def _is_refused(self) -> bool:
        state = self.server_state
        state.requests.append(f"{self.command} {self.path}")
        state.headers.append(dict(self.headers))
        if state.refusal is None:
            return False
        self._refuse(state.refusal)
        return True

    def _refuse(self, refusal: Refusal) -> None:
        body = (
            f"<?xml version='1.0'?><Error><Code>{refusal.code}</Code>"
            f"<Message>Signature {self.headers.get('Authorization')}</Message></Error>"
        ).encode()
        extra = {"Retry-After": refusal.retry_after} if refusal.retry_after else {}
        self._answer(refusal.status, body, extra)

    def _answer(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        announced: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its parent's name)
        """Say nothing."""


def _xml(name: str, values: dict[str, str]) -> bytes:
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in values.items())
    return f"<?xml version='1.0'?><{name}>{inner}</{name}>".encode()


def _damaged(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]
