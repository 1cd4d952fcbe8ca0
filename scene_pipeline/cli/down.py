"""`down`: stops the `up` of this data directory, from another terminal.

Belongs here: asking and waiting. Does not belong here: stopping (`up` does it itself, in order).
"""

import os
import signal
import time

from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.up_record import is_held, read_running
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings, load_settings

PATIENCE_SECONDS = 45.0
"""Longer than `up` gives its own children."""
_RECORD_SECONDS = 5.0
"""How long an `up` that has just begun may take to say who it is."""
_POLL_SECONDS = 0.1


def down(terminal: Terminal) -> int:
    """Stop what is up and wait until it is gone; returns the exit code, 0 also where nothing was.

    Raises:
        ConfigurationError: It belongs to another user, or does not stop.
    """
    settings = load_settings()
    was_up = _stop(settings)
    if terminal.is_json:
        terminal.document({"was_up": was_up})
    else:
        terminal.say("Everything is stopped." if was_up else "Nothing is up.")
    return 0


def _stop(settings: Settings) -> bool:
    deadline = time.monotonic() + _RECORD_SECONDS
    running = read_running(settings)
    while running is None:
        if not is_held(settings):
            return False
        if time.monotonic() > deadline:
            raise ConfigurationError(
                "Something holds up.lock in the data directory but does not say what it is.",
                code="up_unknown",
                next_action="End it by hand: `fuser -v` on that file names it.",
            )
        time.sleep(_POLL_SECONDS)
        running = read_running(settings)
    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise ConfigurationError(
            f"Process {running.pid}, which is up, belongs to another user.",
            code="up_of_another_user",
            next_action="Run `down` as that user.",
        ) from error
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_held(settings):
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"Process {running.pid} did not stop within {PATIENCE_SECONDS:.0f} s.",
                code="up_does_not_stop",
                next_action=f"End it with: kill -9 {running.pid}",
            )
        time.sleep(_POLL_SECONDS)
    return True
