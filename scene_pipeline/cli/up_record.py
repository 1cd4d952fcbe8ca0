"""How commands know of a running `up`: a lock that ends with it, and a record of its addresses.

Belongs here: the two files in the data directory. Does not belong here: starting and stopping
(`cli.up`, `cli.down`).

`up` holds `up.lock` for its whole life; the kernel gives it up however `up` ends, so a record
without the lock is known to be a dead one's. The record's process id is believed only together with
the time at which that process began: a stranger with the same id is never signalled.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from scene_pipeline.cli.files import write_atomically
from scene_pipeline.database.embedded.locks import try_lock
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.processes import start_ticks
from scene_pipeline.settings import Settings

LOCK_FILE = "up.lock"
RECORD_FILE = "up.json"


@dataclass(frozen=True, slots=True)
class RunningUp:
    """A running `up`."""

    pid: int
    started: str | None
    """When the process began, in ticks; None where the system does not tell."""
    is_ready: bool
    """Whether everything answers."""
    dagster_url: str
    frames_url: str | None
    """Of our own server, whatever it shows; None where it is not needed."""


@contextmanager
def claim(settings: Settings) -> Iterator[bool]:
    """Be the one `up` of this data directory, for as long as the context lasts.

    Yields:
        False where another process is it.

    Raises:
        ConfigurationError: The data directory cannot be written.
    """
    path = settings.home_directory / LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"The data directory {path.parent} cannot be written: {error.strerror}.",
            code="home_not_writable",
            next_action="Set SCENE_PIPELINE_HOME to a directory that you may write to.",
        ) from error
    try:
        is_ours = try_lock(lock, "exclusive")
        record = settings.home_directory / RECORD_FILE
        if is_ours:
            record.unlink(missing_ok=True)
        try:
            yield is_ours
        finally:
            if is_ours:
                record.unlink(missing_ok=True)
    finally:
        os.close(lock)


def write_record(settings: Settings, record: RunningUp) -> None:
    """Tell other commands where this `up` answers; only for the process that holds the claim."""
    text = json.dumps(asdict(record), indent=2) + "\n"
    write_atomically(settings.home_directory / RECORD_FILE, text.encode())


def is_held(settings: Settings) -> bool:
    """Whether an `up` of this data directory is there, on its way up or down included."""
    try:
        lock = os.open(settings.home_directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(lock, "shared")
    finally:
        os.close(lock)


def read_running(settings: Settings) -> RunningUp | None:
    """The running `up` of this data directory, or None."""
    record = _read(settings.home_directory / RECORD_FILE)
    if record is None or not is_held(settings):
        return None
    if record.started is not None and start_ticks(record.pid) != record.started:
        return None
    return record


def _read(path: Path) -> RunningUp | None:
    try:
        return RunningUp(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
