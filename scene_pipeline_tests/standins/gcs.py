"""A Google Cloud Storage on loopback: the emulator `gcp-storage-emulator`, and what it leaves out.

The emulator keeps objects and speaks the JSON API, resumable uploads and checksums. It asks nobody
who he is, ignores preconditions, checks no signature and takes no form. Those are added here, out
of Google's documentation and without Google's library, so that the two hold each other to it: the
bearer tokens, `ifGenerationMatch=0`, V4 signatures of addresses and of upload policies, with their
expiry. As `ignores_preconditions` says, it can be as the emulator is in the one thing that matters.
"""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from functools import partial
from http.server import HTTPServer
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from gcp_storage_emulator.handlers import buckets, objects  # type: ignore[import-untyped]  # no types
from gcp_storage_emulator.server import RequestHandler  # type: ignore[import-untyped]  # no types
from gcp_storage_emulator.storage import Storage  # type: ignore[import-untyped]  # no types

from scene_pipeline.settings import Settings, load_settings
from scene_pipeline_tests.google_keys import ACCOUNT, private_key, service_account

BUCKET = "frames"
_DATE = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer to whatever is asked."""

    status: int
    message: str = "refused"
    retry_after: str | None = None


@dataclass(slots=True)
class Gcs:
    """The server's state; tests set the faults and read what was asked."""

    url: str = ""
    ignores_preconditions: bool = False
    refusal: Refusal | None = None
    damages_reads: int = 0
    """How many downloads from now on have one changed byte."""
    damages_writes: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    requests: list[str] = field(default_factory=list)
    """Method and path with its query, in the order of arrival."""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the bucket knows of each object, by name and by Google's words."""

    def settings(self, home: Path, **overrides: object) -> Settings:
        """Settings of an installation that keeps its frames here."""
        values: dict[str, object] = {
            "home": home,
            "storage_url": f"gs://{BUCKET}",
            "gcs_endpoint_url": self.url,
            "gcs_service_account_json": service_account(f"{self.url}/token"),
            "ssl_cert_file": None,
        }
        return load_settings(**(values | overrides))


class _PreconditionFailedError(Exception):
    """`ifGenerationMatch=0` did not hold."""


class _Storage(Storage):  # type: ignore[misc]  # untyped
    """The emulator's objects, with the one precondition that is asked of them."""

    def __init__(self, state: Gcs) -> None:
        super().__init__(use_memory_fs=True)
        buckets.create_bucket(BUCKET, self)
        self.state = state
        self.state.objects = self.objects.setdefault(BUCKET, {})
        self.must_be_new = False

    def get_file(self, bucket: str, name: str, show_error: bool = True) -> bytes:
        data: bytes = super().get_file(bucket, name, show_error)
        if self.state.damages_reads:
            self.state.damages_reads -= 1
            return bytes([data[0] ^ 1]) + data[1:]
        return data

    def create_file(self, bucket: str, name: str, *rest: object) -> None:
        if self.must_be_new and name in self.objects.get(bucket, {}):
            raise _PreconditionFailedError
        super().create_file(bucket, name, *rest)


class _Handler(RequestHandler):  # type: ignore[misc]  # untyped
    state: Gcs
    rfile: IO[bytes]

    def do_GET(self) -> None:  # noqa: N802 (the protocol of its parent)
        self._admitted(super().do_GET)

    def do_POST(self) -> None:  # noqa: N802 (the protocol of its parent)
        if self.path == "/token":
            self.rfile.read(int(self.headers["Content-Length"]))
            self._note()
            self._answer(
                200, {"access_token": self.state.token, "expires_in": 3600, "token_type": "Bearer"}
            )
        elif self.path == f"/{BUCKET}/":
            self._note()
            self._form()
        else:
            self._admitted(super().do_POST)

    def do_PUT(self) -> None:  # noqa: N802 (the protocol of its parent)
        self._admitted(super().do_PUT)

    def do_DELETE(self) -> None:  # noqa: N802 (the protocol of its parent)
        self._admitted(super().do_DELETE)

    def _note(self) -> None:
        self.state.requests.append(f"{self.command} {self.path}")

    def _admitted(self, go_on: Any) -> None:
        """Let the emulator answer, where the request may be made at all."""
        self._note()
        refusal = self.state.refusal
        if refusal is not None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            extra = {"Retry-After": refusal.retry_after} if refusal.retry_after else {}
            self._answer(refusal.status, {"error": {"message": refusal.message}}, extra)
            return
        query = parse_qs(urlsplit(self.path).query)
        is_api = self.path.startswith(("/storage/", "/upload/", "/download/"))
        is_known = self.headers.get("Authorization") == f"Bearer {self.state.token}"
        if is_api and not is_known:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(401, {"error": {"message": "Invalid Credentials"}})
        elif not is_api and not self._is_signed():
            self._answer(403, {"error": {"message": "Access denied."}})
        else:
            is_new = query.get("ifGenerationMatch") == ["0"]
            self.storage.must_be_new = is_new and not self.state.ignores_preconditions
            if self.state.damages_writes:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.rfile = BytesIO(sent.replace(b"picture", b"p1cture"))
            try:
                go_on()
            except _PreconditionFailedError:
                message = "At least one of the pre-conditions you specified did not hold."
                self._answer(412, {"error": {"message": message}})

    def _is_signed(self) -> bool:
        """Whether an address carries a V4 signature of our account that still holds."""
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            signature = bytes.fromhex(query.pop("X-Goog-Signature"))
            date = query["X-Goog-Date"]
            account, scope = query["X-Goog-Credential"].split("/", 1)
            lasts = timedelta(seconds=int(query["X-Goog-Expires"]))
            names = query["X-Goog-SignedHeaders"].split(";")
        except (KeyError, ValueError):
            return False
        pairs = sorted((quote(k, safe=""), quote(v, safe="")) for k, v in query.items())
        request = "\n".join(
            (
                self.command,
                parts.path,
                "&".join(f"{name}={value}" for name, value in pairs),
                *(f"{name}:{self.headers.get(name, '').strip()}" for name in names),
                "",
                ";".join(names),
                "UNSIGNED-PAYLOAD",
            )
        )
        digest = hashlib.sha256(request.encode()).hexdigest()
        said = f"GOOG4-RSA-SHA256\n{date}\n{scope}\n{digest}".encode()
        begun = datetime.strptime(date, _DATE).replace(tzinfo=UTC)
        return (
            account == ACCOUNT
            and datetime.now(UTC) < begun + lasts
            and self._is_ours(said, signature)
        )

    def _form(self) -> None:
        """Take an upload by POST, as its policy permits."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        # The email package's types know no body that is a list of bytes.
        message: Any = BytesParser().parsebytes(head + body)
        parts: dict[str, bytes] = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in message.get_payload()
        }
        file = parts.pop("file")
        fields = {name: value.decode() for name, value in parts.items()}
        refusal = self._policy_refusal(fields, len(file))
        if refusal is not None:
            self._answer(refusal[0], {"error": refusal[1]})
            return
        name = fields["key"]
        facts = {
            "name": name,
            "bucket": BUCKET,
            "size": str(len(file)),
            "generation": str(secrets.randbits(40)),
            "metageneration": "1",
            "contentType": fields["Content-Type"],
            "crc32c": objects._crc32c(file),
            "md5Hash": base64.b64encode(hashlib.md5(file).digest()).decode(),  # noqa: S324 (the protocol's)
        }
        self.storage.must_be_new = False
        self.storage.create_file(BUCKET, name, file, facts)
        self._answer(204, None)

    def _policy_refusal(self, fields: Mapping[str, str], size: int) -> tuple[int, str] | None:
        policy = fields.get("policy", "")
        if not self._is_ours(policy.encode(), bytes.fromhex(fields.get("x-goog-signature", ""))):
            return 403, "SignatureDoesNotMatch"
        said = json.loads(base64.b64decode(policy))
        if datetime.fromisoformat(said["expiration"]) <= datetime.now(UTC):
            return 400, "ExpiredToken"
        permitted: dict[str, str] = {"bucket": BUCKET}
        for condition in said["conditions"]:
            if isinstance(condition, dict):
                permitted |= condition
            elif not condition[1] <= size <= condition[2]:
                return 400, "EntityTooLarge" if size > condition[2] else "EntityTooSmall"
        signed = {**fields, "bucket": BUCKET}
        for name in ("policy", "x-goog-signature"):
            signed.pop(name)
        return None if signed == permitted else (403, "AccessDenied")

    def _is_ours(self, said: bytes, signature: bytes) -> bool:
        try:
            private_key().public_key().verify(signature, said, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def _answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Server(HTTPServer):
    """One request at a time, as the emulator's own: its objects are not made for threads."""

    request_queue_size = 128


@contextmanager
def running_gcs() -> Iterator[Gcs]:
    """Run the server with one private bucket, "frames", as long as the block lasts."""
    state = Gcs()
    storage = _Storage(state)

    class Handler(_Handler):
        pass

    Handler.state = state
    with _Server(("127.0.0.1", 0), partial(Handler, storage)) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join(10)
