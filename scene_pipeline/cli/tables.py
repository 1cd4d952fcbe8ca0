"""Tables and fields that fit the terminal, and lines of columns where nobody looks.

Belongs here: layout of rows. Does not belong here: what is in them.

At a terminal a long URL is cut to its last part and stays a link, and a long text is cut;
piped into a file or another program, everything is whole.
"""

from collections.abc import Mapping, Sequence

from scene_pipeline.cli.terminal import Terminal, plain

Cell = str | tuple[str, str]
"""A text, or a text and its style."""

_URL_COLUMN = "url"
_RIGHT_ALIGNED = frozenset(
    {"cost", "version", "scenes", "estimate", "on request", "length"}
    | {"frames", "versions", "attempts", "failures", "rejected", "times"}
    | {"seconds", "median", "slowest", "per frame", "not shown"}
)
_FLEXIBLE = frozenset({"url", "why", "prompt", "title"})
_MAX_SCENE_WIDTH = 30
_LABEL_WIDTH = 8


class SceneTable:
    """Rows under headings.

    Args:
        terminal: Where to.
        columns: The headings; some names have a layout of their own.
    """

    def __init__(self, terminal: Terminal, columns: Sequence[str]) -> None:
        self._terminal = terminal
        self._columns = columns
        self._rows: list[list[tuple[str, str]]] = []

    def add(self, *cells: Cell) -> None:
        """Add a row, one cell per heading."""
        pairs = [cell if isinstance(cell, tuple) else (cell, "") for cell in cells]
        self._rows.append([(plain(text), style) for text, style in pairs])

    def show(self) -> None:
        """Write it."""
        if self._terminal.is_live:
            self._show_fitted()
        else:
            self._show_whole()

    def _show_whole(self) -> None:
        lines = [list(self._columns), *([text for text, _ in row] for row in self._rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self._columns))]
        for line in lines:
            cells = [
                cell.rjust(width) if name in _RIGHT_ALIGNED else cell.ljust(width)
                for name, cell, width in zip(self._columns, line, widths, strict=True)
            ]
            self._terminal.say("  ".join(cells).rstrip())

    def _show_fitted(self) -> None:
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415  # where used
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(
            box=SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 2, 0, 0),
            header_style="dim",
            border_style="dim",
            expand=not _FLEXIBLE.isdisjoint(self._columns),
        )
        for name in self._columns:
            table.add_column(
                name,
                justify="right" if name in _RIGHT_ALIGNED else "left",
                no_wrap=True,
                overflow="ellipsis",
                ratio=1 if name in _FLEXIBLE else None,
                max_width=_MAX_SCENE_WIDTH if name == "scene" else None,
            )
        for row in self._rows:
            cells = []
            for name, (text, style) in zip(self._columns, row, strict=True):
                is_url = name == _URL_COLUMN and bool(text)
                cells.append(
                    Text(text.rsplit("/", 1)[-1], style=f"dim link {text}")
                    if is_url
                    else Text(text, style=style)
                )
            table.add_row(*cells)
        self._terminal.console.print(table)


def show_filled_columns(
    terminal: Terminal, rows: Sequence[Mapping[str, Cell]], *, from_width: Mapping[str, int]
) -> None:
    """Write a table without the columns that are empty in every row.

    Args:
        terminal: Where to.
        rows: At least one, each by heading.
        from_width: From how many columns of a terminal on a heading is shown; others always are,
            and all of them where nobody watches.
    """
    width = terminal.console.width if terminal.is_live else max(from_width.values())
    filled = {name for cells in rows for name, cell in cells.items() if cell}
    columns = [name for name in rows[0] if name in filled and width >= from_width.get(name, 0)]
    table = SceneTable(terminal, columns)
    for cells in rows:
        table.add(*(cells[name] for name in columns))
    table.show()


def show_fields(terminal: Terminal, fields: Mapping[str, str]) -> None:
    """Write names and values, one line each; at a terminal a long value goes on under itself."""
    width = max([_LABEL_WIDTH, *map(len, fields)])
    if not terminal.is_live:
        for name, value in fields.items():
            terminal.say(plain(f"  {name:<{width}}  {value}").rstrip())
        return
    from rich.table import Table  # noqa: PLC0415  # where used
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=width + 2, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(Text(f"  {name}", style="dim"), Text(plain(value)))
    terminal.console.print(table)
