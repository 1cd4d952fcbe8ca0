"""A loopback CONNECT proxy that answers for named hosts itself, over TLS, and refuses all others.

The program under test uses the real host names; nothing can leave the machine. Exchanges can be
broken off at the level of the connection, which is what lost answers are made of.
"""

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

_HANDSHAKE_SECONDS = 10.0
_IDLE_SECONDS = 60.0


class BrokenOffError(Exception):
    """The connection was cut on purpose."""


@dataclass
class Exchange:
    """One request and the means to answer it, well or badly."""

    host: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    _handler: "_SiteHandler" = field(repr=False)

    def json(self) -> Any:
        """The request's body as JSON, or None."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def send_json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer properly."""
        self.send(status, json.dumps(body).encode(), "application/json", headers)

    def send(
        self,
        status: int,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str] | None = None,
        *,
        claimed_length: int | None = None,
    ) -> None:
        """Answer with bytes; another claimed length makes the answer end too early."""
        handler = self._handler
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(claimed_length or len(body)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        if claimed_length is not None and claimed_length > len(body):
            self.drop()

    def drip(self, body: bytes, content_type: str, *, pause_seconds: float) -> None:
        """Answer byte by byte, for as long as the other side listens."""
        handler = self._handler
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for index in range(len(body)):
            handler.wfile.write(body[index : index + 1])
            if handler.proxy.closing.wait(pause_seconds):
                break
        self.drop()

    def drop(self) -> None:
        """Close the connection without a word."""
        raise BrokenOffError

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        linger = struct.pack("ii", 1, 0)
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise BrokenOffError

    def hang(self, seconds: float) -> None:
        """Say nothing for a while, then close."""
        self._handler.proxy.closing.wait(seconds)
        raise BrokenOffError


class ConnectProxy:
    """The proxy; runs in threads of this process from `start` to `close`.

    Args:
        hosts: Host names that `answer` stands for.
        tls: Server context with certificates for them.
        answer: Called in its own thread for each request.
        port: 0 for any free one.
    """

    def __init__(
        self,
        hosts: frozenset[str],
        tls: ssl.SSLContext,
        answer: Callable[[Exchange], None],
        port: int = 0,
    ) -> None:
        self.hosts = hosts
        self.tls = tls
        self.answer = answer
        self.closing = threading.Event()
        self.refused_hosts: list[str] = []
        self.connect_failures = 0
        """How many of the next CONNECT requests are answered with 502."""
        self._server = _Server(("127.0.0.1", port), _ProxyHandler)
        self._server.proxy = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """Value for SCENE_PIPELINE_EGRESS_PROXY."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and let every waiting exchange go."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    proxy: ConnectProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break all the time here; that is not worth a word."""


class _ProxyHandler(socketserver.StreamRequestHandler):
    server: _Server
    rbufsize = 0  # what follows the CONNECT belongs to TLS
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement

    def handle(self) -> None:
        proxy = self.server.proxy
        self.connection.settimeout(_HANDSHAKE_SECONDS)
        host, port = self._read_connect()
        if host not in proxy.hosts or port != "443":
            proxy.refused_hosts.append(f"{host}:{port}")
            self._say("403 Forbidden")
            return
        if proxy.connect_failures > 0:
            proxy.connect_failures -= 1
            self._say("502 Bad Gateway")
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with contextlib.suppress(OSError, BrokenOffError):
            connection = proxy.tls.wrap_socket(self.connection, server_side=True)
            with contextlib.closing(connection):
                connection.settimeout(_IDLE_SECONDS)
                _SiteHandler(connection, self.client_address, self.server, host)

    def _read_connect(self) -> tuple[str, str]:
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < 8192:
            byte = self.connection.recv(1)
            if not byte:
                return "", ""
            head += byte
        words = head.split(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] != "CONNECT":
            return (urlsplit(words[1]).hostname or "") if len(words) > 1 else "", ""
        host, _, port = words[1].rpartition(":")
        return host, port

    def _say(self, status: str) -> None:
        self.wfile.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())


class _SiteHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, connection: Any, client: Any, server: _Server, host: str) -> None:
        self.host = host
        self.proxy = server.proxy
        super().__init__(connection, client, server)

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        exchange = Exchange(
            host=self.host,
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
            _handler=self,
        )
        self.proxy.answer(exchange)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815  # http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        """Stay silent."""
