"""A collector on loopback that keeps what it is sent by OTLP over HTTP, and fails as told."""

import gzip
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from scene_pipeline.settings import Settings, load_settings

Manner = Literal["takes", "refuses", "hangs"]


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span that arrived."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    is_error: bool
    status_message: str


@dataclass
class OtlpReceiver:
    """What arrived, and how it answers."""

    url: str = ""
    ca_file: Path | None = None
    manner: Manner = "takes"
    spans: list[ReceivedSpan] = field(default_factory=list)
    points: list[tuple[str, dict[str, Any], float]] = field(default_factory=list)
    """Name, attributes and value (of a histogram: its count) of each point, the newest last."""
    resources: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Of the newest request, in small letters."""
    requests: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    """Set at the end: what hangs lets go."""

    def settings(self, **overrides: Any) -> Settings:
        """Settings of a program that sends here."""
        return load_settings(**{"telemetry": True, "otlp_endpoint": self.url, **overrides})

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]

    def latest(self, instrument: str) -> list[tuple[dict[str, Any], float]]:
        """The newest value of an instrument for each set of attributes."""
        newest = {
            tuple(sorted(attributes.items())): value
            for name, attributes, value in self.points
            if name == instrument
        }
        return [(dict(attributes), value) for attributes, value in newest.items()]

    def take(self, path: str, body: bytes) -> None:
        """Keep a request's content."""
        self.raw.append(body)
        if path == "/v1/traces":
            self._take_traces(ExportTraceServiceRequest.FromString(body))
        elif path == "/v1/metrics":
            self._take_metrics(ExportMetricsServiceRequest.FromString(body))

    def _take_traces(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.resources.append(_values(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans += [
                    ReceivedSpan(
                        name=span.name,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        attributes=_values(span.attributes),
                        is_error=span.status.code == 2,
                        status_message=span.status.message,
                    )
                    for span in scope.spans
                ]

    def _take_metrics(self, request: ExportMetricsServiceRequest) -> None:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.sum.data_points:
                        value = point.as_double or float(point.as_int)
                        self.points.append((metric.name, _values(point.attributes), value))
                    for counted in metric.histogram.data_points:
                        count = float(counted.count)
                        self.points.append((metric.name, _values(counted.attributes), count))


def exporters_are_gone() -> bool:
    """Whether no thread of an exporter is left in this process."""
    return not any(thread.name.startswith("Otel") for thread in threading.enumerate())


def _values(attributes: Any) -> dict[str, Any]:
    given: list[KeyValue] = list(attributes)
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in given}


def _tls(ca_file: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@contextmanager
def otlp_receiver(ca_directory: Path | None = None) -> Iterator[OtlpReceiver]:
    """Run the receiver as long as the block lasts.

    Args:
        ca_directory: Where the CA of a receiver that speaks TLS is put; plain HTTP when left out.
    """
    receiver = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests += 1
            receiver.headers = {name.lower(): value for name, value in self.headers.items()}
            if receiver.manner == "hangs":
                receiver.is_over.wait(30)
                self.close_connection = True
                return
            is_taken = receiver.manner == "takes"
            if is_taken:
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                receiver.take(self.path, gzip.decompress(body) if is_packed else body)
            self.send_response(200 if is_taken else 503)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its parent's name)
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if ca_directory is None:
            receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        else:
            receiver.ca_file = ca_directory / "collector-ca.pem"
            server.socket = _tls(receiver.ca_file).wrap_socket(server.socket, server_side=True)
            receiver.url = f"https://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.is_over.set()
            server.shutdown()
            thread.join(10)
