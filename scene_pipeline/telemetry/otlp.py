"""How telemetry leaves the machine: by OTLP over HTTP, and by the house's rules for the way out.

Belongs here: sessions and exporters. Does not belong here: what is sent (`telemetry.otel`).

The rules hold in full: the environment's proxies and `.netrc` are ignored, the only proxy is
SCENE_PIPELINE_EGRESS_PROXY (never for a collector on this machine), certificates are those of
`egress.tls_context`, and redirects are not followed.
"""

import ipaddress
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from requests.adapters import HTTPAdapter

from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings

EXPORT_SECONDS: Final = 5.0
"""Longest time for one request with its repetitions; what is not taken by then is dropped."""
MAX_REQUEST_BYTES: Final = 4 * 2**20


def span_exporter(settings: Settings) -> OTLPSpanExporter:
    """Sends spans to the collector's `/v1/traces`.

    Raises:
        ConfigurationError: code "otlp_endpoint_invalid".
    """
    return OTLPSpanExporter(
        f"{_base(settings)}/v1/traces",
        timeout=EXPORT_SECONDS,
        session=_session(settings),
        max_request_size=MAX_REQUEST_BYTES,
    )


def metric_exporter(settings: Settings) -> OTLPMetricExporter:
    """Sends metrics to the collector's `/v1/metrics`.

    Raises:
        ConfigurationError: code "otlp_endpoint_invalid".
    """
    return OTLPMetricExporter(
        f"{_base(settings)}/v1/metrics",
        timeout=EXPORT_SECONDS,
        session=_session(settings),
        max_request_size=MAX_REQUEST_BYTES,
    )


class _OwnTls(HTTPAdapter):
    """Connects with our TLS context, directly and through a proxy."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)


def _session(settings: Settings) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _OwnTls(tls_context(settings.ssl_cert_file)))
    if settings.egress_proxy and not _is_here(settings.otlp_endpoint):
        session.proxies = {"http": settings.egress_proxy, "https": settings.egress_proxy}
    return session


def _base(settings: Settings) -> str:
    parts = _split(settings.otlp_endpoint)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is not an address of the form http://host:port.",
            code="otlp_endpoint_invalid",
            next_action="Name a collector's address for OTLP over HTTP, or leave it out for"
            " http://127.0.0.1:4318; keys belong into OTEL_EXPORTER_OTLP_HEADERS.",
        )
    return settings.otlp_endpoint.rstrip("/")


def _is_here(url: str) -> bool:
    parts = _split(url)
    host = (parts.hostname if parts else None) or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # refuses a port that is none
    except ValueError:
        return None
    return parts
