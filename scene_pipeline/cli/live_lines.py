"""Lines of things that are worked on side by side, fitted to a terminal of any size.

Belongs here: which lines are shown, and their layout. Does not belong here: when they are drawn
(`cli.live_display`), what they say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scene_pipeline.cli.wording import duration, marks, style_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SEPARATOR = " \u00b7 "
_MAX_LABEL = 28
_NARROW = 60
"""Columns; below, the time of a line gives way to its words."""


@dataclass(slots=True)
class Line:
    """What is shown of one thing."""

    label: str
    words: str = "waiting"
    mark: str = "waiting"
    """Name of a mark in `cli.wording`; "waiting" until something happens."""
    style: str | None = None
    """Of the words; as the mark's where left out."""
    began_at: float | None = None
    ended_at: float | None = None

    @property
    def is_working(self) -> bool:
        """Whether something happened to it, and it has not ended."""
        return self.began_at is not None and self.ended_at is None

    def work(self, words: str, now: float) -> None:
        """Something happened to it."""
        self.words, self.mark, self.began_at = words, "working", self.began_at or now
        self.ended_at = None

    def end(self, words: str, mark: str, now: float, style: str | None = None) -> None:
        """It has ended."""
        self.words, self.mark, self.style = words, mark, style
        self.began_at, self.ended_at = self.began_at or now, now


def visible_lines(lines: Sequence[Line], limit: int) -> list[Line]:
    """All lines where they fit; else those in flight, filled up with the last that ended.

    Args:
        lines: In their own order, which is kept.
        limit: Most lines.
    """
    if len(lines) <= limit:
        return list(lines)
    working = [line for line in lines if line.is_working]
    ended = sorted(
        (line for line in lines if line.ended_at is not None),
        key=lambda line: line.ended_at or 0.0,
        reverse=True,
    )
    waiting = [line for line in lines if line.began_at is None]
    picked = {id(line) for line in [*working, *ended, *waiting][:limit]}
    return [line for line in lines if id(line) in picked]


def lines_table(lines: Sequence[Line], console: "Console", now: float) -> "Table":
    """The lines as a table that is as wide as the terminal, each on one row."""
    from rich.table import Table  # noqa: PLC0415  # where used
    from rich.text import Text  # noqa: PLC0415

    symbols = marks(console.encoding)
    has_times = console.width >= _NARROW
    table = Table.grid(padding=(0, 2 if has_times else 1, 0, 0))
    table.expand = True
    table.add_column(width=1)
    table.add_column(
        no_wrap=True, overflow="ellipsis", max_width=min(_MAX_LABEL, console.width // 3)
    )
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    if has_times:
        table.add_column(justify="right", no_wrap=True, min_width=6)
    for line in lines:
        style = {"waiting": "dim", "working": "cyan"}.get(line.mark, style_of(line.mark))
        words_style = line.style if line.style is not None else "" if line.is_working else "dim"
        cells = [
            Text(symbols[line.mark], style=style),
            Text(line.label),
            Text(line.words, style=words_style),
        ]
        if has_times:
            seconds = "" if line.began_at is None else _time_of(line, line.began_at, now)
            cells.append(Text(seconds, style="dim"))
        table.add_row(*cells)
    return table


def wrapped(parts: Sequence[str], width: int) -> list[str]:
    """Parts of a sentence on as few lines as hold them, broken between parts only."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{SEPARATOR}{part}" if lines else part
        if lines and len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def _time_of(line: Line, began_at: float, now: float) -> str:
    return duration((line.ended_at if line.ended_at is not None else now) - began_at)
