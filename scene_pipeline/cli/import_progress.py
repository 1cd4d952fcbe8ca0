"""The live display of `assets add`: what has really arrived of each, as it arrives."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from scene_pipeline.cli.live_display import LiveDisplay
from scene_pipeline.cli.live_lines import Line
from scene_pipeline.cli.remaining import RemainingItems
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import marks, size_words
from scene_pipeline.pipeline.library.import_events import ImportEvent, ImportOutcome, ImportProgress

_STYLES = {"new": "green", "duplicate": "dim", "busy": "yellow", "waiting": "red", "failed": "red"}
_MARKS = {"new": "generated", "duplicate": "kept", "busy": "working", "waiting": "waiting"}


class ImportDisplay(LiveDisplay):
    """Shows imports while they work; called in the run's thread for every event.

    Args:
        terminal: Where to.
        sources: What is imported, by the import's id.
    """

    def __init__(self, terminal: Terminal, sources: Mapping[UUID, str]) -> None:
        super().__init__(terminal)
        self._lines = {key: Line(plain(source)) for key, source in sources.items()}
        self.outcomes: dict[UUID, ImportOutcome] = {}
        self._received: dict[UUID, int] = {}
        self._remaining = RemainingItems(len(self._lines))
        self._doing = "Starting Dagster"

    def __call__(self, event: ImportEvent) -> None:
        """Take one event."""
        with self._lock:
            self._doing = ""
            if isinstance(event, ImportOutcome):
                self.outcomes[event.import_id] = event
            line = self._lines.get(event.import_id)
            if line is not None:
                self._take(line, event, time.monotonic())
        if line is not None and isinstance(event, ImportOutcome) and not self.is_drawn:
            tell_import(self._terminal, event)
        self.say_totals_now_and_then()

    def lines(self) -> Sequence[Line]:
        """See `LiveDisplay.lines`."""
        return list(self._lines.values())

    def counts(self) -> list[str]:
        """See `LiveDisplay.counts`."""
        ended = Counter(one.status for one in self.outcomes.values())
        parts = [f"{len(self.outcomes)} of {len(self._lines)}"]
        parts += [f"{number} {status}" for status, number in ended.items()]
        working = sum(line.is_working for line in self._lines.values())
        if working:
            parts.append(f"{working} in progress")
        if received := sum(self._received.values()):
            parts.append(f"{size_words(received)} received")
        return parts

    def seconds_left(self, now: float) -> float | None:
        """See `LiveDisplay.seconds_left`."""
        return self._remaining.seconds_left(now)

    def _take(self, line: Line, event: ImportEvent, now: float) -> None:
        if isinstance(event, ImportProgress):
            line.work(received_words(event), now)
            self._received[event.import_id] = event.bytes_received
            self._remaining.works(event.import_id, now)
            return
        style = _STYLES[event.status]
        line.end(import_words(event), _MARKS.get(event.status, event.status), now, style)
        self._remaining.ends(event.import_id, now)


def received_words(progress: ImportProgress) -> str:
    """How much has arrived, of how much where that was announced."""
    if not progress.bytes_received:
        return "asking for it"
    received = size_words(progress.bytes_received)
    if progress.bytes_total is None:
        return f"{received} received"
    if progress.bytes_received == progress.bytes_total:
        return f"{received} received, checking and storing it"
    return f"{received} of {size_words(progress.bytes_total)} received"


def tell_import(terminal: Terminal, outcome: ImportOutcome) -> None:
    """Write the one line that stays of an import, in the form of those of files."""
    mark = marks(terminal.console.encoding)[_MARKS.get(outcome.status, outcome.status)]
    words = plain(f"{mark} {outcome.source}  {import_words(outcome)}")
    terminal.say(words, style=_STYLES[outcome.status])


def import_words(outcome: ImportOutcome) -> str:
    """What became of an import, in one line."""
    failure = outcome.failure
    if failure is not None:
        told = f"{outcome.status}: [{failure.code}] {failure.message} {failure.next_action}"
        return told + (" `up` tries again by itself." if outcome.status == "waiting" else "")
    if outcome.status == "busy":
        return "another run is importing it, or has"
    size = "" if outcome.size_bytes is None else f", {size_words(outcome.size_bytes)}"
    there = "there already as " if outcome.status == "duplicate" else ""
    return f"{there}{outcome.asset_id} ({outcome.mime_type}{size})"
