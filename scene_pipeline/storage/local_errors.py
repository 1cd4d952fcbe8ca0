"""What the operating system's refusals mean for a store of files.

Belongs here: error numbers into errors with a next action. Does not belong here: the files
(`storage.local`).
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.keys import missing_object

_OTHER_THINGS = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST})


@contextmanager
def explained(key: str, root: Path) -> Iterator[None]:
    """Turn refusals about an object below a directory into this package's errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise missing_object(key) from error
    except OSError as error:
        raise _refusal(key, root, error) from error


def _refusal(key: str, root: Path, error: OSError) -> StorageError:
    if error.errno in _OTHER_THINGS:
        message = f"{key} cannot be stored in {root}: something else stands at that path."
        action = (
            f"Move it away from {root}, or name another directory in SCENE_PIPELINE_STORAGE; then"
            " see with `scene-pipeline doctor` that it serves."
        )
        return StorageError(message, code="key_invalid", next_action=action)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        message = f"The disk of {root} is full, so {key} was not stored."
        action = "Free some space there, or name another directory in SCENE_PIPELINE_STORAGE."
        return StorageError(message, code="storage_full", next_action=action)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        message = f"{root} does not allow this process to read or write {key}."
        action = f"Give this user access to {root}, or name another in SCENE_PIPELINE_STORAGE."
        return StorageError(message, code="storage_denied", next_action=action)
    reason = os.strerror(error.errno) if error.errno else "the operating system gave no reason"
    return StorageError(f"{key} failed in {root}: {reason}.", retryable=error.errno == errno.EIO)
