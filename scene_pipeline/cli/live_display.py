"""Lines at a terminal that are drawn over while something works; a few plain ones elsewhere.

Belongs here: starting, drawing and ending, and how often plain totals are written. Does not belong
here: what the lines say (`cli.progress`, `cli.import_progress`, `cli.copy_progress`,
`cli.drill_progress`), their layout (`cli.live_lines`).

Nothing is drawn but what was told by an event. At a terminal at most `MAX_LINES` lines and the
totals are drawn over, however many things there are; they go away at the end, and stay where that
came too early (Ctrl-C, a lost database). Piped into a file, whoever knows of an end writes one
line, and the totals follow now and then. With `--json` nothing is written.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scene_pipeline.cli.live_lines import SEPARATOR, Line, lines_table, visible_lines, wrapped
from scene_pipeline.cli.remaining import left_words
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.wording import duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

MAX_LINES = 12
REFRESHES_PER_SECOND = 8.0
TOTALS_SECONDS = 10.0
"""The shortest time between two lines of totals where nobody watches."""
_TOTALS_SHARE = 0.1
"""And the share of all time so far, so that a night's work writes no more than a few dozen."""


class LiveDisplay(ABC):
    """Shows what happens, for as long as the block lasts.

    Subclasses change what is shown under `_lock`, and write lines of their own outside of it.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._lock = threading.Lock()
        """Held while what is drawn is read or changed: Rich draws in a thread of its own."""
        self._live: Live | None = None
        self._doing = ""
        self._is_broken_off = False
        self._began_at = time.monotonic()
        self._totals_at = self._began_at

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
        with self._lock:
            # Where it ends before its time, how far everything had come stays to be read.
            self._is_broken_off = exception is not None
            words = SEPARATOR.join(self._totals(time.monotonic()))
        if self._live is not None:
            self._live.transient = not self._is_broken_off
            self._live.stop()
        elif self._is_broken_off:
            self._terminal.say(f"  {words}", style="dim")

    @property
    def is_drawn(self) -> bool:
        """Whether lines are drawn over, rather than written one below the other."""
        return self._live is not None

    def doing(self, words: str) -> None:
        """Say what is being done besides the things that have lines: "Starting Dagster"."""
        with self._lock:
            self._doing = words

    def __rich_console__(self, console: "Console", _options: object) -> "Sequence[RenderableType]":
        """What Rich asks for."""
        from rich.text import Text  # noqa: PLC0415  # where used

        with self._lock:
            now = time.monotonic()
            totals = wrapped(self._totals(now), console.width)[: max(console.height - 1, 1)]
            lines = self.lines()
            # One row stays free for the cursor, one parts the lines from the totals.
            limit = min(MAX_LINES, console.height - len(totals) - 2)
            words = Text("\n".join(totals), style="dim", no_wrap=True, overflow="ellipsis")
            if not lines or limit < 1:
                return [words]
            return [lines_table(visible_lines(lines, limit), console, now), Text(), words]

    @abstractmethod
    def lines(self) -> Sequence[Line]:
        """Everything that has a line; called with the lock held."""

    @abstractmethod
    def counts(self) -> list[str]:
        """The parts of the totals that are counted; called with the lock held."""

    def seconds_left(self, now: float) -> float | None:  # noqa: ARG002  # for those who measure
        """An estimate of what remains where there is evidence; called with the lock held."""
        return None

    def say_totals_now_and_then(self) -> None:
        """Write the totals where nobody watches and some time has passed; without the lock."""
        with self._lock:
            now = time.monotonic()
            pause = max(TOTALS_SECONDS, (now - self._began_at) * _TOTALS_SHARE)
            if self._live is not None or now - self._totals_at < pause:
                return
            self._totals_at = now
            words = SEPARATOR.join(self._totals(now))
        self._terminal.say(f"  {words}", style="dim")

    def _totals(self, now: float) -> list[str]:
        parts = [*self.counts(), duration(now - self._began_at)]
        if self._is_broken_off:
            return parts
        left = self.seconds_left(now)
        if left is not None:
            parts.append(left_words(left))
        if self._doing:
            parts.append(f"{self._doing} ...")
        return parts
