"""Folders for files on their way into the library: one per process, gone with it.

Whoever works in one holds a lock on it, which the system lets go of with the process; one that
nobody holds is what a dead process left, and the next to come removes it.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.pipeline.services import Services

_PREFIX = "import-"
_AGE_SECONDS = 60.0
"""A folder that is younger may have been made just now, and not be locked yet."""
_REMOVED_AT_ONCE = 100


@contextmanager
def workspace(home: Path) -> Iterator[Path]:
    """A folder of this process's own below `home`, removed at the end with all that is in it.

    Raises:
        ConfigurationError: It cannot be made.
    """
    parent = home / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(home)
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(
            f"No folder for downloads can be made in the data directory: {error.strerror}.",
            code="tmp_unwritable",
            next_action="Make SCENE_PIPELINE_HOME writable, or set it to another directory.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


@asynccontextmanager
async def open_workspace(services: Services) -> AsyncIterator[Path]:
    """As `workspace`, made and removed in a thread: the loop never waits for many files to go.

    Raises:
        ConfigurationError: It cannot be made.
    """
    folder = ExitStack()
    made = workspace(services.settings.home_directory)
    directory = await services.call(folder.enter_context, made)
    try:
        yield directory
    finally:
        await services.call(folder.close)


def remove_leftovers(home: Path) -> int:
    """Remove folders of processes that are gone; returns how many."""
    removed = 0
    with suppress(OSError):
        for directory in (home / "tmp").glob(f"{_PREFIX}*"):
            if removed >= _REMOVED_AT_ONCE:
                break
            removed += _remove_if_left(directory)
    return removed


def _remove_if_left(directory: Path) -> bool:
    try:
        if time.time() - directory.stat().st_mtime < _AGE_SECONDS:
            return False
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        shutil.rmtree(directory, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)
