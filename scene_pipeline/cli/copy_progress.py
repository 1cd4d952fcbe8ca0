"""The live display of a copy to another store.

Belongs here: turning what is told into lines. Does not belong here: the summary at the end
(`cli.storage_copy`). At a terminal one line is drawn over; piped into a file a line is written
every few seconds; with `--json` nothing is.
"""

import time
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.wording import plural

if TYPE_CHECKING:
    from rich.status import Status

    from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyProgress

LINE_SECONDS = 5.0
_WORDS = {
    "copying": "Copied",
    "verifying": "Read back",
    "correcting": "Correcting addresses after",
}


class CopyDisplay:
    """Shows a copy while it works; called in the copy's thread.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._status: Status | None = None
        self._stack = ExitStack()
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._terminal.is_live:
            status = self._terminal.console.status("Copying", spinner="line", spinner_style="dim")
            self._status = self._stack.enter_context(status)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __call__(self, progress: "CopyProgress") -> None:
        """Take one step of the copy."""
        if self._status is not None:
            self._status.update(_line(progress))
        elif time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            self._terminal.say(_line(progress))


def _line(progress: "CopyProgress") -> str:
    failed = f", {plural(progress.failures, 'failure')}" if progress.failures else ""
    return (
        f"{_WORDS[progress.doing]} {progress.done.objects:,} of"
        f" {plural(progress.total.objects, 'object')},"
        f" {progress.done.size_bytes:,} of {progress.total.size_bytes:,} bytes{failed}"
    )
