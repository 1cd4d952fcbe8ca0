"""What `up` says: its addresses when everything answers, or those of the one that is up already.

Belongs here: words and their JSON. Does not belong here: starting and watching (`cli.up`).
"""

import os
import time

from scene_pipeline.api.app import LIBRARY_PATH
from scene_pipeline.cli.readiness import dagster_url
from scene_pipeline.cli.run_header import storage_in_words
from scene_pipeline.cli.tables import show_fields
from scene_pipeline.cli.terminal import Terminal, command, shown_path
from scene_pipeline.cli.up_record import is_held, read_running
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings
from scene_pipeline.storage.addresses import MEDIA_PATH
from scene_pipeline.storage.registry import parse_storage_url
from scene_pipeline.storage.served import FRAMES_PATH

START_SECONDS = 120.0
"""How long everything may take to answer; a loaded machine needs some 20."""
_POLL_SECONDS = 0.2


def shown_places(settings: Settings, server_url: str) -> dict[str, str]:
    """Addresses of what our own server shows with these settings, by what it is.

    Args:
        settings: Of the server.
        server_url: Its address.
    """
    kind = parse_storage_url(settings.resolved_storage_url).kind
    are_frames_open = kind in {"local", "database"} and settings.url_mode != "gateway"
    places = (
        {"frames": f"{server_url}{FRAMES_PATH}"}
        if are_frames_open
        else {"gateway": f"{server_url}{MEDIA_PATH}"}
    )
    if settings.api_token is not None:
        places["library"] = f"{server_url}{LIBRARY_PATH}/"
    return places


def announce(terminal: Terminal, settings: Settings, database: str, server_url: str | None) -> None:
    """Say where everything answers; `server_url` is None where no server of ours is needed."""
    places = {} if server_url is None else shown_places(settings, server_url)
    logs = settings.home_directory / "logs"
    if terminal.is_json:
        terminal.document(
            {
                "pid": os.getpid(),
                "dagster_url": dagster_url(settings),
                "frames_url": server_url,
                "places": places,
                "storage": storage_in_words(settings),
                "database": database,
                "logs": str(logs),
            }
        )
        return
    terminal.say("Scene Pipeline is up.", style="bold")
    fields = {
        "dagster": dagster_url(settings),
        **places,
        "storage": storage_in_words(settings),
        "database": database,
        "logs": shown_path(logs),
    }
    show_fields(terminal, fields)
    terminal.say(f"Ctrl-C stops all of it; so does `{command('down')}` in another terminal.")


def tell_running(terminal: Terminal, settings: Settings) -> int:
    """Say where the other `up` answers, once it does; returns the exit code.

    Raises:
        ConfigurationError: It is not ready in time, or just stopping.
    """
    deadline = time.monotonic() + START_SECONDS
    running = read_running(settings)
    while (running is None or not running.is_ready) and time.monotonic() < deadline:
        if not is_held(settings):
            break
        time.sleep(_POLL_SECONDS)
        running = read_running(settings)
    if running is None or not running.is_ready:
        raise ConfigurationError(
            "Another `up` of this data directory was starting or stopping, and is not ready.",
            code="up_in_motion",
            next_action="Run the command again.",
        )
    url = running.frames_url
    places = {} if url is None else shown_places(settings, url)
    if terminal.is_json:
        terminal.document(
            {
                "pid": running.pid,
                "dagster_url": running.dagster_url,
                "frames_url": running.frames_url,
                "places": places,
                "was_running": True,
            }
        )
        return 0
    terminal.say("Scene Pipeline is up already.", style="bold")
    show_fields(terminal, {"dagster": running.dagster_url, **places})
    return 0
