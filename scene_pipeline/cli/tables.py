"""Tables that fit the terminal, and lines of columns where nobody looks.

Belongs here: layout of rows. Does not belong here: what is in them.

At a terminal a long URL is cut to its last part and stays a link; piped, it is whole.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scene_pipeline.cli.terminal import Terminal, plain

if TYPE_CHECKING:
    from rich.table import Table

_URL_COLUMN = "url"
_RIGHT_ALIGNED = frozenset({"cost", "version", "scenes", "estimate"})
_FLEXIBLE = frozenset({"url", "why", "prompt", "title", "detail"})


class SceneTable:
    """Rows under headings; made by `scene_table`."""

    def __init__(self, terminal: Terminal, columns: Sequence[str], table: "Table") -> None:
        self._terminal = terminal
        self._columns = columns
        self._table = table

    def add(self, *cells: str | tuple[str, str]) -> None:
        """Add a row; a cell is its text, or text and style."""
        from rich.text import Text  # noqa: PLC0415  # where used

        row = []
        for name, cell in zip(self._columns, cells, strict=True):
            text, style = cell if isinstance(cell, tuple) else (cell, "")
            shown = plain(text)
            if name == _URL_COLUMN and shown:
                style = f"dim link {shown}" if self._terminal.is_live else style
                shown = shown.rsplit("/", 1)[-1] if self._terminal.is_live else shown
            row.append(Text(shown, style=style))
        self._table.add_row(*row)

    def show(self) -> None:
        """Write it."""
        self._terminal.console.print(self._table)


def scene_table(terminal: Terminal, columns: Sequence[str]) -> SceneTable:
    """A table without lines, but for one under the headings."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  # where used
    from rich.table import Table  # noqa: PLC0415

    box = SIMPLE_HEAD if terminal.is_live else None
    table = Table(box=box, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        is_flexible = name in _FLEXIBLE
        table.add_column(
            name,
            justify="right" if name in _RIGHT_ALIGNED else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if is_flexible and terminal.is_live else None,
            max_width=30 if name == "scene" and terminal.is_live else None,
        )
    table.expand = terminal.is_live and any(name in _FLEXIBLE for name in columns)
    return SceneTable(terminal, columns, table)
