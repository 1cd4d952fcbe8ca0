"""A receiver of alerts on loopback, by TLS: it keeps what it is sent, and answers as told."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

SECRET = "T0SECRET/B0SECRET"


@dataclass(frozen=True, slots=True)
class Post:
    """One post that arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class WebhookReceiver:
    """What the receiver was sent, and how it answers."""

    port: int = 0
    ca_file: Path = Path()
    posts: list[Post] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers; 200 once they are used up."""
    on_post: Callable[[], None] = lambda: None
    """Called before each answer."""

    @property
    def authority(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.authority}/services/{SECRET}?token={SECRET}"

    @property
    def settings(self) -> dict[str, Any]:
        """What leads a program here."""
        return {
            "alert_webhook_url": self.url,
            "ssl_cert_file": self.ca_file,
            "trusted_private_hosts": (self.authority,),
        }

    @property
    def texts(self) -> list[str]:
        return [post.body["text"] for post in self.posts]

    @property
    def told_ids(self) -> list[int]:
        """Ids of all alerts in the order of arrival."""
        return [alert_id for post in self.posts for alert_id in post.body["alert_ids"]]


@contextmanager
def webhook_receiver(directory: Path) -> Iterator[WebhookReceiver]:
    """Run the receiver as long as the block lasts; `directory` gets its CA."""
    authority = trustme.CA()
    receiver = WebhookReceiver(ca_file=directory / "webhook-ca.pem")
    authority.cert_pem.write_to_path(str(receiver.ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.posts.append(Post(self.path, dict(self.headers), body))
            receiver.on_post()
            status, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its parent's name)
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is no news."""

    with Server(("localhost", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(10)
