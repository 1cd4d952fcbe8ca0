"""The live display of imports: what has really arrived of each, as it arrives.

At a terminal a few lines are drawn over, at most `MAX_LINES` however many addresses there are;
piped into a file, each import's end is one line; with `--json` nothing is written.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from scene_pipeline.cli.live_display import LiveDisplay
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import marks
from scene_pipeline.pipeline.library.import_events import (
    ImportEvent,
    ImportOutcome,
    ImportProgress,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_STYLES = {"new": "green", "duplicate": "dim", "busy": "yellow", "waiting": "red", "failed": "red"}


@dataclass(slots=True)
class _Line:
    """What is shown of one import."""

    source: str
    words: str = "waiting"
    style: str = "dim"
    is_working: bool = False


class ImportDisplay(LiveDisplay):
    """Shows imports while they work; called in the run's thread for every event.

    Args:
        terminal: Where to.
        sources: What is imported, by the import's id.
    """

    def __init__(self, terminal: Terminal, sources: Mapping[UUID, str]) -> None:
        super().__init__(terminal)
        self._lines = {key: _Line(plain(source)) for key, source in sources.items()}
        self.outcomes: dict[UUID, ImportOutcome] = {}
        self._has_begun = False

    def __call__(self, event: ImportEvent) -> None:
        """Take one event."""
        with self._lock:
            self._has_begun = True
            line = self._lines.get(event.import_id)
            if isinstance(event, ImportOutcome):
                self.outcomes[event.import_id] = event
            if line is None:
                return
            line.is_working = isinstance(event, ImportProgress)
            if isinstance(event, ImportProgress):
                line.words, line.style = received_words(event), ""
                return
            line.words, line.style = import_words(event), _STYLES[event.status]
            if self._live is None:
                tell_import(self._terminal, event)

    def draw(self, console: "Console", max_lines: int) -> "Sequence[RenderableType]":  # noqa: ARG002  # base
        """See `LiveDisplay.draw`."""
        from rich.table import Table  # noqa: PLC0415  # where used
        from rich.text import Text  # noqa: PLC0415

        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.expand = True
        for line in self._visible(max_lines):
            table.add_row(Text(line.source), Text(line.words, style=line.style))
        counts = Counter(one.status for one in self.outcomes.values())
        parts = [f"{len(self.outcomes)} of {len(self._lines)}"]
        parts += [f"{number} {status}" for status, number in counts.items()]
        if not self._has_begun:
            parts.append("Starting Dagster ...")
        return [table, Text("\n" + " \u00b7 ".join(parts), style="dim")]

    def _visible(self, limit: int) -> list[_Line]:
        """All lines where they fit; else those in flight first."""
        lines = list(self._lines.values())
        if len(lines) <= limit:
            return lines
        return sorted(lines, key=lambda line: not line.is_working)[:limit]


def received_words(progress: ImportProgress) -> str:
    """How much has arrived, of how much where that was announced."""
    received = size_words(progress.bytes_received)
    if progress.bytes_total is None:
        return f"{received} received"
    return f"{received} of {size_words(progress.bytes_total)} received"


def tell_import(terminal: Terminal, outcome: ImportOutcome) -> None:
    """Write the one line that stays of an import, in the form of those of files."""
    status = {"new": "generated", "duplicate": "kept", "busy": "working"}.get(
        outcome.status, outcome.status
    )
    mark = marks(terminal.console.encoding)[status]
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


def size_words(number: int) -> str:
    """A number of bytes for people."""
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"
