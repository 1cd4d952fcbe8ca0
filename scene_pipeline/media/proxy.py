"""The egress proxy's address, read once.

Belongs here: nothing else. Does not belong here: what goes through it (`media.fetch`).
"""

import ssl
from urllib.parse import unquote, urlsplit

import httpcore

from scene_pipeline.errors import ConfigurationError


def read_proxy(url: str, tls_context: ssl.SSLContext) -> httpcore.Proxy:
    """Read `http[s]://[user:password@]host:port`.

    Args:
        url: Value of SCENE_PIPELINE_EGRESS_PROXY.
        tls_context: Verifies the proxy itself where it is spoken to by https.

    Raises:
        ConfigurationError: It is none; the message does not repeat it, since it may hold a secret.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.scheme not in {"http", "https"}:
        raise ConfigurationError(
            "SCENE_PIPELINE_EGRESS_PROXY is not the address of a proxy.",
            code="egress_proxy_invalid",
            next_action="Write http://host:port, with user:password@ before the host if needed.",
        )
    credentials = None
    if parts.username is not None:
        credentials = (unquote(parts.username), unquote(parts.password or ""))
    return httpcore.Proxy(
        httpcore.URL(scheme=parts.scheme, host=host, port=port, target="/"),
        auth=credentials,
        ssl_context=tls_context if parts.scheme == "https" else None,
    )
