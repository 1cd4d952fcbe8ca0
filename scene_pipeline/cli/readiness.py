"""Whether Dagster's servers answer, and whether the addresses of `up` are free.

Belongs here: looking from outside, by loopback connections with short limits. Does not belong
here: what is done about it (`cli.up`).
"""

import errno
import json
import socket
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings

HOST = "127.0.0.1"
_TIMEOUT_SECONDS = 5.0
_MAX_ANSWER_BYTES = 1_000_000
_QUERY = """
{
  workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } }
  instance { daemonHealth { allDaemonStatuses { required healthy } } }
}
"""
_RELOAD = """
mutation { reloadRepositoryLocation(repositoryLocationName: "scene_pipeline") { __typename } }
"""
"""The name is workspace.yaml's."""


@dataclass(frozen=True, slots=True)
class DagsterState:
    """What Dagster's webserver says about itself."""

    is_ready: bool
    """The code location is loaded and every daemon is alive."""
    load_error: str | None = None
    """Why the code location cannot be loaded."""


def dagster_url(settings: Settings) -> str:
    """The address of Dagster's web interface."""
    return f"http://{HOST}:{settings.dagster_port}"


def dagster_state(settings: Settings) -> DagsterState:
    """Ask the webserver; one that does not answer is simply not ready."""
    data = _ask(settings, _QUERY)
    return DagsterState(is_ready=False) if data is None else _state(data)


def reload_code_location(settings: Settings) -> None:
    """Ask Dagster to start the process of the code location again.

    Its code server notices that this process died (killed for memory, say), but starts another one
    only when asked to: until then nothing is launched or retried.
    """
    _ask(settings, _RELOAD)


def _ask(settings: Settings, query: str) -> dict[str, Any] | None:
    connection = HTTPConnection(HOST, settings.dagster_port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(
            "POST", "/graphql", json.dumps({"query": query}), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        told = json.loads(answer.read(_MAX_ANSWER_BYTES)) if answer.status == 200 else {}
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    data = told.get("data") if isinstance(told, dict) else None
    return data if isinstance(data, dict) else None


def check_dagster_port(settings: Settings) -> None:
    """See that the port is free.

    Raises:
        ConfigurationError: It is taken, or may not be used.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, settings.dagster_port))
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            reason = "is taken by another program" if is_taken else f"is refused: {error.strerror}"
            raise ConfigurationError(
                f"Port {settings.dagster_port} of {HOST}, for Dagster's web interface, {reason}.",
                code="port_taken" if is_taken else "address_unusable",
                next_action="Stop that program, or set SCENE_PIPELINE_DAGSTER_PORT to a free port.",
            ) from error


def _state(data: dict[str, Any]) -> DagsterState:
    entries = (data.get("workspaceOrError") or {}).get("locationEntries") or []
    for entry in entries:
        outcome = entry.get("locationOrLoadError") or {}
        if outcome.get("__typename") == "PythonError":
            return DagsterState(is_ready=False, load_error=str(outcome.get("message")))
    daemons = ((data.get("instance") or {}).get("daemonHealth") or {}).get(
        "allDaemonStatuses"
    ) or []
    is_loaded = bool(entries) and all(entry.get("loadStatus") == "LOADED" for entry in entries)
    is_healthy = all(daemon["healthy"] for daemon in daemons if daemon["required"])
    return DagsterState(is_ready=is_loaded and bool(daemons) and is_healthy)
