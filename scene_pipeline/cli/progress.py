"""The live display of a run: what really happened to each scene, as it happens.

Belongs here: turning the stream's events into lines. Does not belong here: the summary at the end
(`cli.run_report`). No percentage is invented: a line changes when the pipeline says something.

At a terminal a few lines are drawn over, at most `MAX_LINES` however many scenes there are; piped
into a file, each scene's end is one line; with `--json` nothing is written.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from scene_pipeline.cli.live_display import LiveDisplay
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import dollars, duration, marks, outcome_words, style_of
from scene_pipeline.pipeline.orders import (
    SceneOutcome,
    SceneProgress,
    SceneRef,
    Stage,
    StageDone,
    StreamEvent,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

_AFTER_STAGE: dict[Stage, str] = {
    "scene_prompt": "asking for the picture",
    "generated_frame": "picture made, checking it",
    "scene_image": "stored",
    "scene_start_frame": "published",
}


@dataclass(slots=True)
class _Line:
    """What is shown of one scene."""

    scene_id: str
    words: str = "waiting"
    began_at: float | None = None
    ended_at: float | None = None
    outcome: SceneOutcome | None = None


class RunProgress(LiveDisplay):
    """Shows a run while it works; called in the run's thread for every event.

    Args:
        terminal: Where to.
        scenes: All scenes of the run, in the document's order.
        cap_usd: What the run may spend at most.
    """

    def __init__(self, terminal: Terminal, scenes: Sequence[SceneRef], cap_usd: Decimal) -> None:
        super().__init__(terminal)
        self._lines = {scene: _Line(plain(scene.scene_id)) for scene in scenes}
        self._cap_usd = cap_usd
        self._spent_usd = Decimal(0)
        self._counts: Counter[str] = Counter()
        self._doing = "Starting Dagster"
        self._began_at = time.monotonic()
        self._width = max((len(line.scene_id) for line in self._lines.values()), default=0)

    def doing(self, words: str) -> None:
        """Say what is being done besides the scenes: "Drawing the contact sheet"."""
        with self._lock:
            self._doing = words

    def __call__(self, event: StreamEvent) -> None:
        """Take one event of the stream."""
        with self._lock:
            line = self._lines.get(event.scene)
            if line is None:
                return
            self._doing = ""
            line.began_at = line.began_at or time.monotonic()
            match event:
                case StageDone():
                    line.words = _AFTER_STAGE[event.stage]
                case SceneProgress():
                    line.words = plain(event.text)
                case SceneOutcome():
                    self._end(line, event)

    def _end(self, line: _Line, outcome: SceneOutcome) -> None:
        line.outcome, line.ended_at = outcome, time.monotonic()
        self._counts[outcome.status] += 1
        self._spent_usd += outcome.cost_usd
        if self._live is None:
            seconds = line.ended_at - (line.began_at or line.ended_at)
            words = f"{line.scene_id:<{self._width}}  {outcome_words(outcome)}"
            self._terminal.say(f"{words}  {duration(seconds)}")

    def draw(self, console: "Console", max_lines: int) -> "Sequence[RenderableType]":
        """See `LiveDisplay.draw`."""
        return [self._table(console, max_lines), self._totals()]

    def _table(self, console: "Console", max_lines: int) -> "Table":
        from rich.table import Table  # noqa: PLC0415  # where used
        from rich.text import Text  # noqa: PLC0415

        symbols = marks(console.encoding)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=1)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=28)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(justify="right", no_wrap=True, min_width=6)
        table.expand = True
        now = time.monotonic()
        for line in self._visible(max_lines):
            seconds = (
                "" if line.began_at is None else duration((line.ended_at or now) - line.began_at)
            )
            if line.outcome is not None:
                status = line.outcome.status
                mark = Text(symbols[status], style=style_of(status))
                words = Text(outcome_words(line.outcome), style="dim")
            elif line.began_at is not None:
                mark, words = Text(symbols["working"], style="cyan"), Text(line.words)
            else:
                mark, words = Text(symbols["waiting"], style="dim"), Text(line.words, style="dim")
            table.add_row(mark, Text(line.scene_id), words, Text(seconds, style="dim"))
        return table

    def _visible(self, limit: int) -> list[_Line]:
        """All lines where they fit; else those in flight, filled up with the last that ended."""
        lines = list(self._lines.values())
        if len(lines) <= limit:
            return lines
        working = [line for line in lines if line.began_at is not None and line.outcome is None]
        chosen = working[:limit]
        ended = sorted(
            (line for line in lines if line.outcome is not None),
            key=lambda line: line.ended_at or 0,
        )
        waiting = [line for line in lines if line.began_at is None]
        rest = [*reversed(ended), *waiting]
        picked = {id(line) for line in [*chosen, *rest[: limit - len(chosen)]]}
        return [line for line in lines if id(line) in picked]

    def _totals(self) -> "Text":
        from rich.text import Text  # noqa: PLC0415  # where used

        done = sum(self._counts.values())
        parts = [f"{done} of {len(self._lines)}"]
        parts += [f"{number} {status}" for status, number in self._counts.items()]
        parts.append(f"{dollars(self._spent_usd)} of {dollars(self._cap_usd)}")
        parts.append(duration(time.monotonic() - self._began_at))
        if self._doing:
            parts.append(f"{self._doing} ...")
        return Text("\n" + " \u00b7 ".join(parts), style="dim")
