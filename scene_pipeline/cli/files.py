"""Files that commands read and write.

Belongs here: reading a document within bounds, writing a result whole or not at all. Does not
belong here: what is in them.
"""

import os
import secrets
from pathlib import Path

from scene_pipeline.errors import ConfigurationError, DocumentError
from scene_pipeline.pipeline.planning.preview import DocumentSource
from scene_pipeline.scenes.document import parse_document, read_document
from scene_pipeline.scenes.json_text import MAX_DOCUMENT_BYTES


def is_file_argument(argument: str) -> bool:
    """Whether an argument means a file rather than a project."""
    return (
        argument.lower().endswith(".json")
        or os.sep in argument
        or (os.altsep is not None and os.altsep in argument)
        or Path(argument).is_file()
    )


def read_source(path: Path, *, project_key: str | None, force: bool) -> DocumentSource:
    """Read a document that is to be imported, and refuse one that cannot be used at all.

    Raises:
        DocumentError: It cannot be read, or is not a usable master JSON.
    """
    try:
        if path.exists() and not path.is_file():
            raise _unreadable(path, "it is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, (error.strerror or "it cannot be read").lower()) from error
    try:
        read_document(parse_document(data))
    except DocumentError as error:
        raise DocumentError(
            f"{path}: {error.message}",
            problems=error.problems,
            code=error.error_code,
            next_action=error.next_action,
        ) from error
    return DocumentSource(
        data=data,
        file_name=path.name,
        origin=str(path.resolve()),
        project_key=project_key,
        force=force,
    )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part.

    What a link leads to is replaced, and never the link; into a pipe or a device, which are no
    files that could be, the bytes are written as they are.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except (OSError, RuntimeError) as error:  # the latter of links that lead to each other
        raise ConfigurationError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or 'it leads nowhere'}.",
            code="file_not_writable",
            next_action="Name a place that you may write to, or set SCENE_PIPELINE_HOME to one.",
        ) from error


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _unreadable(path: Path, reason: str) -> DocumentError:
    return DocumentError(
        f"{path} cannot be read: {reason}.",
        code="file_unreadable",
        next_action="Name a master JSON file, or the key of a project that was imported.",
    )
