"""What `up` says: its addresses when everything answers, or those of the one that is up already.

Belongs here: words and their JSON. Does not belong here: starting and watching (`cli.up`).
"""

import os
import time

from scene_pipeline.cli.readiness import dagster_url
from scene_pipeline.cli.run_header import storage_in_words
from scene_pipeline.cli.tables import show_fields
from scene_pipeline.cli.terminal import Terminal, command, shown_path
from scene_pipeline.cli.up_record import is_held, read_running
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings

START_SECONDS = 120.0
"""How long everything may take to answer; a loaded machine needs some 20."""
_POLL_SECONDS = 0.2


def announce(terminal: Terminal, settings: Settings, database: str, frames_url: str | None) -> None:
    """Say where everything answers."""
    logs = settings.home_directory / "logs"
    if terminal.is_json:
        terminal.document(
            {
                "pid": os.getpid(),
                "dagster_url": dagster_url(settings),
                "frames_url": frames_url,
                "storage": storage_in_words(settings),
                "database": database,
                "logs": str(logs),
            }
        )
        return
    terminal.say("Scene Pipeline is up.", style="bold")
    fields = {"dagster": dagster_url(settings)}
    if frames_url is not None:
        fields["frames"] = f"{frames_url}/frames/"
    fields |= {
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
    if terminal.is_json:
        terminal.document(
            {
                "pid": running.pid,
                "dagster_url": running.dagster_url,
                "frames_url": running.frames_url,
                "was_running": True,
            }
        )
        return 0
    terminal.say("Scene Pipeline is up already.", style="bold")
    fields = {"dagster": running.dagster_url}
    if running.frames_url is not None:
        fields["frames"] = f"{running.frames_url}/frames/"
    show_fields(terminal, fields)
    return 0
