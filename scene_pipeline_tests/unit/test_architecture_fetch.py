"""Only the guarded fetcher and the named adapters may speak HTTP."""

import ast
from pathlib import Path

import pytest

import scene_pipeline

ROOT = Path(scene_pipeline.__file__).parent
HTTP_CLIENTS = {"httpx", "httpcore", "requests", "aiohttp", "urllib3", "http", "urllib.request"}
# Whoever may open connections, and by what. Adding a name here is a decision about security.
ALLOWED = {
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
    # reads a probe of its own back from the address that the settings name
    "storage/diagnosis.py": {"http", "urllib.request"},
    # names an exception that comes through boto3
    "storage/s3_errors.py": {"urllib3"},
}
# Adapters of image services, which talk to their own service's hosts and nobody else's.
ADAPTER_PREFIXES = ("providers/fal",)
ADAPTER_CLIENTS = {"httpx"}


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
    allowed = ALLOWED.get(name, set())
    if name.startswith(ADAPTER_PREFIXES):
        allowed = allowed | ADAPTER_CLIENTS
    assert http_clients_of(path.read_text("utf-8")) <= allowed


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
