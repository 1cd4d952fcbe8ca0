"""Our own HTTP door on loopback, in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from scene_pipeline.api.server import bind_address, build_server, listen
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(settings: Settings, store: ObjectStore | None = None) -> Iterator[None]:
    """Serve at SCENE_PIPELINE_PUBLIC_URL as long as the block lasts."""
    host, port = bind_address(settings)
    server = build_server(settings, store)
    with listen(settings, host, port) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(15)
            assert not thread.is_alive()
