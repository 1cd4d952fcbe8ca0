"""The HTTP door as a process: `python -m scene_pipeline.api.server`.

Belongs here: the listening socket, signals, bounds of connections. Does not belong here: routes.

Mode of operation: foreground, until SIGINT or SIGTERM; then open answers get five seconds. Exit
code 0 after a clean stop, 2 where it could not start, with one sentence on standard error.
"""

import argparse
import errno
import ipaddress
import json
import signal
import socket
import sys
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scene_pipeline.api.app import HEALTH_PATH, create_app, instance_id
from scene_pipeline.errors import ConfigurationError, UsageError
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.opening import opened_store
from scene_pipeline.telemetry.logs import set_up

if TYPE_CHECKING:
    import uvicorn

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8420
BACKLOG = 128
MAX_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 5
HEALTH_TIMEOUT_SECONDS = 2.0


def bind_address(settings: Settings) -> tuple[str, int]:
    """Where to listen so that `SCENE_PIPELINE_PUBLIC_URL` is answered.

    An `http` URL with an IP address or `localhost` is listened to as it stands. Any other names a
    proxy in front of this server, which then listens on loopback, on the URL's port where it has
    one.

    Raises:
        ConfigurationError: code "public_url_invalid".
    """
    try:
        parts = urlsplit(settings.public_url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            "SCENE_PIPELINE_PUBLIC_URL is not an address of the form http://host:port.",
            code="public_url_invalid",
            next_action=f"Leave it out for http://{DEFAULT_HOST}:{DEFAULT_PORT}.",
        )
    host = parts.hostname
    if parts.scheme == "http" and _is_ip_address(host):
        return host, port or 80
    if parts.scheme == "http" and host == "localhost":
        return DEFAULT_HOST, port or 80
    return DEFAULT_HOST, port or DEFAULT_PORT


def running_instance(host: str, port: int) -> str | None:
    """The instance id of the server that answers at an address, or None where none of ours does."""
    connection = HTTPConnection(host, port, timeout=HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", HEALTH_PATH)
        answer = connection.getresponse()
        told = json.loads(answer.read(4096)) if answer.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    instance = told.get("instance") if isinstance(told, dict) else None
    return instance if isinstance(instance, str) else None


def listen(settings: Settings, host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Raises:
        ConfigurationError: code "already_serving" where a server for the same frames is running,
            "port_taken" where another program has the port, "address_unusable" for the rest.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise _not_listening(settings, host, port, error) from error
    listening.setblocking(False)
    return listening


def serve(settings: Settings, host: str | None = None, port: int | None = None) -> None:
    """Serve until SIGINT or SIGTERM; returns after a clean stop.

    Args:
        settings: What to serve, and the address unless given here.
        host: Address to listen on instead of the one out of SCENE_PIPELINE_PUBLIC_URL.
        port: Port to listen on instead.

    Raises:
        ConfigurationError: The address or the storage URL cannot be used.
    """
    default_host, default_port = bind_address(settings)
    host = host or default_host
    port = default_port if port is None else port
    with opened_store(settings) as store, listen(settings, host, port) as listening:
        server = build_server(settings, store)
        # A signal before uvicorn listens to them asks it to stop as soon as it has started. After
        # its clean stop it raises the caught signal again, which then changes nothing.
        previous = {
            number: signal.signal(number, server.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            server.run(sockets=[listening])
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def build_server(settings: Settings, store: ObjectStore | None = None) -> "uvicorn.Server":
    """The server with its bounds, not yet listening; for `serve`, and for running in a thread.

    Args:
        settings: What to serve.
        store: See `create_app`.

    Raises:
        ConfigurationError: The storage URL or a setting of the store cannot be used.
    """
    import uvicorn  # noqa: PLC0415 (heavy, and the CLI imports this module for `running_instance`)

    def is_ending() -> bool:
        return server.should_exit

    config = uvicorn.Config(
        create_app(settings, store, is_ending=is_ending),
        # h11 bounds the size of a request's head, which the faster parser does not.
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,  # its warnings are lines of our own log
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = uvicorn.Server(config)
    return server


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `python -m scene_pipeline.api.server`; returns the exit code."""
    parser = argparse.ArgumentParser(description="Show what is stored over HTTP.")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings()
        set_up(settings)
        serve(settings, chosen.host, chosen.port)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _not_listening(
    settings: Settings, host: str, port: int, error: Exception
) -> ConfigurationError:
    if not isinstance(error, OSError) or error.errno != errno.EADDRINUSE:
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        return ConfigurationError(
            f"The frame server cannot listen on {host}:{port}: {reason}.",
            code="address_unusable",
            next_action="Set SCENE_PIPELINE_PUBLIC_URL to an address of this machine.",
        )
    if running_instance(host, port) == instance_id(settings):
        return ConfigurationError(
            f"A frame server for the same frames is already running on {host}:{port}.",
            code="already_serving",
            next_action="Use it, or stop it with `scene-pipeline down`.",
        )
    return ConfigurationError(
        f"Port {port} of {host} is taken by another program.",
        code="port_taken",
        next_action=(
            "Stop that program, or set SCENE_PIPELINE_PUBLIC_URL to a free port, such as "
            f"http://{DEFAULT_HOST}:{port + 1}."
        ),
    )


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
