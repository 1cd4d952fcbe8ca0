"""An HTTP server made of raw sockets, for answers that no proper server would give.

Each path has a script: the bytes to send before the connection is closed, or a function that does
with the connection what it likes. Everything that arrives is kept.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

_MAX_HEAD_BYTES = 64 * 1024
_IDLE_SECONDS = 10.0


class Line:
    """One connection, as a script sees it."""

    def __init__(self, connection: socket.socket, stopped: threading.Event) -> None:
        self.connection = connection
        self._stopped = stopped

    def send(self, data: bytes) -> None:
        """Send bytes now."""
        self.connection.sendall(data)

    def drip(self, data: bytes, pause_seconds: float = 0.02) -> None:
        """Send the bytes one at a time, over and over, until the other side goes away."""
        while True:
            for byte in data:
                if self._stopped.wait(pause_seconds):
                    return
                self.connection.sendall(bytes((byte,)))

    def next_head(self) -> bytes:
        """Wait for another request on the same connection."""
        return _read_head(self.connection)

    def hang(self) -> None:
        """Send nothing more; the connection stays open until the server is closed."""
        self._stopped.wait(_IDLE_SECONDS)

    def reset(self) -> None:
        """Close with a reset instead of a proper end."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()


Script = bytes | Callable[[Line], None]


def answer(
    body: bytes = b"", status: str = "200 OK", *, length: int | None = -1, **headers: str
) -> bytes:
    """An answer as bytes; `length` -1 declares the true one, None declares none."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """A redirect to wherever."""
    return answer(status=status, Location=location)


class HostileServer:
    """Serves scripts by path, or by method and path, on a loopback port, until it is closed.

    With `tunnels` it is a CONNECT proxy as well: the tunnel ends in the server itself, which takes
    the name of the host by TLS.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script],
        *,
        tls: ssl.SSLContext | None = None,
        tunnels: ssl.SSLContext | None = None,
    ) -> None:
        self._scripts = dict(scripts)
        self._tls = tls
        self._tunnels = tunnels
        self._stopped = threading.Event()
        self.heads: list[bytes] = []
        """Every request head that arrived, CONNECT included."""
        self.connection_count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "HostileServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        # closing a listener does not wake an accept that waits on it
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def url(self, path: str, *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        """Address of a path here."""
        return f"{scheme}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connection_count += 1
            connection.settimeout(_IDLE_SECONDS)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # whatever the other side does, refusing the certificate included, ends this connection
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with contextlib.closing(connection):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = _read_head(connection)
        if not head:
            return
        self.heads.append(head)
        method, path, *_ = head.decode("latin-1").split(" ")
        script = self._scripts.get(f"{method} {path}", self._scripts.get(path))
        if method == "CONNECT" and script is None and self._tunnels is not None:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with self._tunnels.wrap_socket(connection, server_side=True) as tunnel:
                self._answer(tunnel)
            return
        if script is None:
            script = answer(status="404 Not Found")
        if isinstance(script, bytes):
            connection.sendall(script)
        else:
            script(Line(connection, self._stopped))


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD_BYTES:
        received = connection.recv(4096)
        if not received:
            return b""
        head += received
    return head
