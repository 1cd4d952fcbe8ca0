"""The live display of files that are added: those in work, and how many have ended.

What has ended stays as a line of its own, which whoever adds them writes.
"""

import time
from collections import Counter
from collections.abc import Sequence

from scene_pipeline.cli.live_display import LiveDisplay
from scene_pipeline.cli.live_lines import Line
from scene_pipeline.cli.remaining import RemainingItems
from scene_pipeline.cli.terminal import Terminal, plain


class FileDisplay(LiveDisplay):
    """Shows files while they are checked and stored.

    Args:
        terminal: Where to.
        total: How many there are.
    """

    def __init__(self, terminal: Terminal, total: int) -> None:
        super().__init__(terminal)
        self._total = total
        self._working: dict[int, Line] = {}
        self._ended: Counter[str] = Counter()
        self._remaining = RemainingItems(total)

    def begins(self, number: int, source: str) -> None:
        """A file is being looked at; `number` names it, since a name may be given twice."""
        now = time.monotonic()
        with self._lock:
            line = Line(plain(source))
            line.work("checking and storing it", now)
            self._working[number] = line
            self._remaining.works(number, now)

    def ends(self, number: int, status: str) -> None:
        """A file is in the library, was there already, or failed."""
        with self._lock:
            self._working.pop(number, None)
            self._ended[status] += 1
            self._remaining.ends(number, time.monotonic())
        self.say_totals_now_and_then()

    def lines(self) -> Sequence[Line]:
        """See `LiveDisplay.lines`."""
        return list(self._working.values())

    def counts(self) -> list[str]:
        """See `LiveDisplay.counts`."""
        parts = [f"{sum(self._ended.values())} of {self._total}"]
        return parts + [f"{number} {status}" for status, number in self._ended.items()]

    def seconds_left(self, now: float) -> float | None:
        """See `LiveDisplay.seconds_left`."""
        return self._remaining.seconds_left(now)
