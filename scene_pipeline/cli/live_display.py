"""Lines at a terminal that are drawn over while something works; nothing where it is no terminal.

Belongs here: starting, drawing and ending. Does not belong here: what the lines say
(`cli.progress`, `cli.import_progress`).
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scene_pipeline.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

MAX_LINES = 12
REFRESHES_PER_SECOND = 8.0


class LiveDisplay(ABC):
    """Draws what `draw` gives, several times a second, for as long as the block lasts.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._lock = threading.Lock()
        """Held while what is drawn is read or changed: Rich draws in a thread of its own."""
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._terminal.is_live:
            from rich.live import Live  # noqa: PLC0415  # where used

            self._live = Live(
                self,
                console=self._terminal.console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich_console__(self, console: "Console", _options: object) -> "Sequence[RenderableType]":
        """What Rich asks for."""
        with self._lock:
            return self.draw(console, min(MAX_LINES, max(console.height - 3, 1)))

    @abstractmethod
    def draw(self, console: "Console", max_lines: int) -> "Sequence[RenderableType]":
        """What is shown now, in so many lines at most; called with the lock held."""
