"""Only the guarded fetcher and the named adapters may speak HTTP."""

import ast
from pathlib import Path

import pytest

import scene_pipeline

ROOT = Path(scene_pipeline.__file__).parent
HTTP_CLIENTS = {"httpx", "httpcore", "requests", "aiohttp", "urllib3", "http", "urllib.request"}
# Whoever may open connections, and by what. Adding a name here is a decision about security.
ALLOWED = {
    "media/exchange.py": {"httpcore"},
    "media/fetch.py": {"httpcore"},
    "media/network.py": {"httpcore"},
    "media/proxy.py": {"httpcore"},
    "media/transport_errors.py": {"httpcore"},
    # posts alerts to the address that the settings name, by the fetcher's rules
    "pipeline/alerts/webhook.py": {"httpcore"},
    # asks the address it would serve at whether another server of ours is there
    "api/server.py": {"http"},
    # asks the programs that it has just started whether they are up
    "cli/readiness.py": {"http"},
    # reads and puts probes of its own at addresses that the settings name
    "storage/anonymous.py": {"http", "urllib.request"},
    # gives Google's client our certificate roots and proxy
    "storage/gcs_client.py": {"requests"},
    # name exceptions that come through the vendors' clients
    "storage/gcs_errors.py": {"requests", "urllib3"},
    "storage/s3_errors.py": {"urllib3"},
    # the way to image services: transports, time limits, bounded reading
    "providers/wire.py": {"httpx"},
    # asks the hosts that an adapter names as its service's own, and no other
    "providers/bearer.py": {"httpx"},
    # gives Fal's key to Fal's hosts alone, and holds fal-client to that
    "providers/fal_transport.py": {"httpx"},
    "providers/fal_submit.py": {"httpx"},
    # puts a picture's bytes to a place that Fal names, where it is one of a fixed list
    "providers/fal_uploads.py": {"httpx"},
    # gives OpenTelemetry's exporter a session that keeps to the house's way out
    "telemetry/otlp.py": {"requests"},
    # names the errors of fal-client's own client
    "providers/fal.py": {"httpx"},
}


def http_clients_of(source: str) -> set[str]:
    """Names of the HTTP clients that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    # http.HTTPStatus and its like are names, no client; http.client is one
    names = {"http" if name.startswith("http.client") else name for name in names if name != "http"}
    return {
        client
        for client in HTTP_CLIENTS
        if any(name == client or name.startswith(f"{client}.") for name in names)
        and (client != "http" or "http" in names)
    }


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_other_module_imports_an_http_client(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert http_clients_of(path.read_text("utf-8")) <= ALLOWED.get(name, set())


def test_nobody_is_allowed_what_he_does_not_use() -> None:
    used = {name: http_clients_of((ROOT / name).read_text("utf-8")) for name in ALLOWED}

    assert used == ALLOWED


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import httpx", {"httpx"}),
        ("def f():\n    from httpx import Client", {"httpx"}),
        ("from urllib import request", {"urllib.request"}),
        ("import urllib.request as r", {"urllib.request"}),
        ("import http.client", {"http"}),
        ("from http import client", {"http"}),
        ("from http import HTTPStatus", set()),
        ("from urllib.parse import urljoin", set()),
    ],
)
def test_the_check_sees_every_way_to_import(source: str, found: set[str]) -> None:
    assert http_clients_of(source) == found
