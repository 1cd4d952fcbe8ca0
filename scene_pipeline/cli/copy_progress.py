"""The live display of a copy to another store.

Belongs here: turning what is told into words. Does not belong here: the summary at the end
(`cli.storage_copy`).
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scene_pipeline.cli.live_display import LiveDisplay
from scene_pipeline.cli.live_lines import Line
from scene_pipeline.cli.remaining import RemainingAmount
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.wording import plural, size_words

if TYPE_CHECKING:
    from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyProgress, CopyStep

_WORDS = {
    "copying": "Copied",
    "verifying": "Read back",
    "correcting": "Correcting addresses after",
}


class CopyDisplay(LiveDisplay):
    """Shows a copy while it works; called in the copy's thread.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(terminal)
        self._last: CopyProgress | None = None
        self._amounts: dict[CopyStep, tuple[RemainingAmount, RemainingAmount]] = {}
        """Objects and bytes, by what is done with them."""
        self._doing = "Looking at both stores"

    def __call__(self, progress: "CopyProgress") -> None:
        """Take one step of the copy."""
        now = time.monotonic()
        with self._lock:
            self._last, self._doing = progress, ""
            new = (RemainingAmount(), RemainingAmount())
            objects, size_bytes = self._amounts.setdefault(progress.doing, new)
            objects.note(progress.done.objects, progress.total.objects, now)
            size_bytes.note(progress.done.size_bytes, progress.total.size_bytes, now)
        self.say_totals_now_and_then()

    def lines(self) -> Sequence[Line]:
        """See `LiveDisplay.lines`."""
        return []

    def counts(self) -> list[str]:
        """See `LiveDisplay.counts`."""
        if self._last is None:
            return []
        done, total = self._last.done, self._last.total
        parts = [
            f"{_WORDS[self._last.doing]} {done.objects:,} of {plural(total.objects, 'object')}",
            f"{size_words(done.size_bytes)} of {size_words(total.size_bytes)}",
        ]
        if self._last.failures:
            parts.append(plural(self._last.failures, "failure"))
        return parts

    def seconds_left(self, now: float) -> float | None:
        """The longer of what objects and bytes say; nothing where one of them says nothing."""
        if self._last is None or self._last.doing == "correcting":
            return None
        estimates = [amount.seconds_left(now) for amount in self._amounts[self._last.doing]]
        known = [seconds for seconds in estimates if seconds is not None]
        return max(known) if len(known) == len(estimates) else None
