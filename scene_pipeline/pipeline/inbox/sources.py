"""Where the documents of the inbox lie: a folder or a bucket, behind one Protocol.

Belongs here: the Protocol, and which names are documents. Does not belong here: what is done with
a document (`pipeline.inbox.watch`), and which place it is (`pipeline.inbox.setting`).

A source is looked at from outside first: a fingerprint of each file, without opening any. Only
direct members count; whatever is not a plain file is named and never opened.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from scene_pipeline.errors import Problem

MAX_FILES = 20_000
"""Documents of one inbox; what lies beyond is told and not looked at."""
MAX_NAME_BYTES = 200
"""Leaves room in a file name for what is put behind it."""
NOT_OURS = "not-ours"
"""Stands for the digest of something that we never wrote."""

_SUFFIX = ".json"
_OUTPUT_SUFFIX = ".frames.json"


class Deadline:
    """Until when something new may be begun."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._clock() >= self._end


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A file as it is seen from outside."""

    path: str
    """Its name; for a name that no text can hold a form of it that no file can have."""
    fingerprint: str
    """Differs once the content may."""
    size_bytes: int
    age_seconds: float
    """Since its last change; infinite where files appear whole."""
    obstacle: Problem | None = None
    """Why it is never opened."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The documents of an inbox."""

    entries: tuple[InboxEntry, ...]
    """By name."""
    is_complete: bool
    """Whether there is no more than this."""


class InboxSource(Protocol):
    """Where documents are found and written back; its calls block."""

    @property
    def address(self) -> str:
        """What names it: a path, or s3://bucket/prefix."""
        ...

    def list(self, deadline: Deadline) -> Listing:
        """Look at every document from outside, as far as the time lasts.

        Raises:
            ConfigurationError: The folder is not there or cannot be read.
            StorageError: The bucket cannot be listed.
        """
        ...

    def read(self, entry: InboxEntry) -> bytes | None:
        """Read a document that was listed.

        Returns:
            None where it is gone, or is not as it was listed any more: it is for the next tick.

        Raises:
            UsageError: It cannot be read.
            StorageError: The bucket does not answer.
        """
        ...

    def origin(self, path: str) -> str:
        """The address of a file."""
        ...

    def output_digest(self, name: str) -> str | None:
        """The sha256 of what stands under a name, `NOT_OURS`, or None where nothing does.

        Raises:
            UsageError: It cannot be looked at.
            StorageError: The bucket does not answer.
        """
        ...

    def write_output(self, name: str, data: bytes, sha256: str) -> None:
        """Write a document whole or not at all.

        Raises:
            UsageError: The inbox cannot be written to.
            StorageError: The bucket does not answer.
        """
        ...

    def probe(self) -> None:
        """Try that it can be read and written to, and leave nothing behind.

        Raises:
            UsageError: It cannot.
            StorageError: The bucket does not answer.
        """
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


def is_document_name(name: str) -> bool:
    """Whether a file of that name is a document: not hidden, not temporary, not our own output."""
    lower = name.lower()
    return (
        lower.endswith(_SUFFIX)
        and not lower.endswith(_OUTPUT_SUFFIX)
        and not name.startswith((".", "~"))
    )


def output_name(name: str) -> str:
    """The name under which the updated document is written beside a file."""
    return name[: -len(_SUFFIX)] + _OUTPUT_SUFFIX


def named(raw_name: str) -> tuple[str, Problem | None]:
    """The path of a file, and why its name cannot be used where that is so.

    Args:
        raw_name: With lone surrogates in the place of bytes that are no UTF-8.
    """
    encoded = raw_name.encode("utf-8", "surrogateescape")
    try:
        encoded.decode("utf-8")
        is_text = raw_name.isprintable()
    except UnicodeDecodeError:
        is_text = False
    if is_text and len(encoded) <= MAX_NAME_BYTES:
        return raw_name, None
    # No name has a slash in it, so that this form can be no other file's.
    path = f"?/{quote(encoded, safe=' ')}"
    reason = (
        f"is longer than {MAX_NAME_BYTES} bytes"
        if is_text
        else "has characters in it that are no printable UTF-8"
    )
    return path, Problem("file_name_invalid", "$", f"The file's name {reason}.")
