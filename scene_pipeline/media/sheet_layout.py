"""How large the cells of a contact sheet are and where they stand.

Belongs here: arithmetic in pixels. Does not belong here: drawing (`media.contact_sheet`).
"""

import math
from dataclasses import dataclass

MAX_SHEET_SIDE_PIXELS = 16_000
MAX_SHEET_PIXELS = 40_000_000
_USUAL_COLUMNS = 8
# Height over width that is tolerated before a column is added: up to eight columns, and beyond.
_TALLEST_SHAPE = 1.4
_TALLEST_SHAPE_OF_MANY = 2.5


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How much of a scene is shown, and how large; all in pixels."""

    frame_width: int
    padding: int
    gap: int
    name_size: int
    """Font size of scene id and version."""
    badge_size: int
    """Font size of the state's word; 0 shows the state as a dot of its colour."""
    caption_size: int
    """Font size of the caption's two lines; 0 leaves the caption out."""
    radius: int

    @property
    def cell_width(self) -> int:
        """Width of the card."""
        return self.frame_width + 2 * self.padding

    @property
    def text_height(self) -> int:
        """Height of everything below the frame."""
        name = round(self.name_size * 1.7)
        caption = round(2 * self.caption_size * 1.35 + self.caption_size * 0.4)
        return name + caption + self.padding // 2


# From generous to tiny; 320 pixels is the width of the thumbnails themselves.
_STYLES = (
    CellStyle(320, 12, 20, 19, 14, 15, 14),
    CellStyle(200, 8, 12, 14, 11, 11, 9),
    CellStyle(112, 4, 8, 11, 0, 0, 6),
    CellStyle(72, 2, 4, 9, 0, 0, 4),
    CellStyle(52, 2, 3, 8, 0, 0, 3),  # 5000 upright frames
)


@dataclass(frozen=True, slots=True)
class SheetLayout:
    """A sheet's grid, in pixels."""

    style: CellStyle
    columns: int
    rows: int
    frame_height: int
    margin: int
    header_height: int

    @property
    def cell_height(self) -> int:
        """Height of the card."""
        return self.frame_height + 2 * self.style.padding + self.style.text_height

    @property
    def width(self) -> int:
        """Width of the sheet."""
        step = self.style.cell_width + self.style.gap
        return self.columns * step - self.style.gap + 2 * self.margin

    @property
    def height(self) -> int:
        """Height of the sheet."""
        step = self.cell_height + self.style.gap
        return self.header_height + self.rows * step - self.style.gap + self.margin

    @property
    def is_within_bounds(self) -> bool:
        """Whether every viewer opens a sheet of this size."""
        return (
            max(self.width, self.height) <= MAX_SHEET_SIDE_PIXELS
            and self.width * self.height <= MAX_SHEET_PIXELS
        )

    def cell_position(self, index: int) -> tuple[int, int]:
        """Upper left corner of a card."""
        row, column = divmod(index, self.columns)
        return (
            self.margin + column * (self.style.cell_width + self.style.gap),
            self.header_height + row * (self.cell_height + self.style.gap),
        )


def plan_layout(cell_count: int, columns: int, frame_ratio: float) -> SheetLayout:
    """Choose the most generous style whose sheet stays within bounds.

    Args:
        cell_count: Scenes to show.
        columns: Fewest columns; more are taken for many scenes.
        frame_ratio: Width over height of the frames.
    """
    for style in _STYLES[:-1]:
        layout = _grid(style, cell_count, columns, frame_ratio)
        if layout.is_within_bounds:
            return layout
    return _grid(_STYLES[-1], cell_count, columns, frame_ratio)


def _grid(style: CellStyle, cell_count: int, columns: int, frame_ratio: float) -> SheetLayout:
    """Add columns until the sheet is no strip."""
    count = max(cell_count, 1)
    while True:
        layout = SheetLayout(
            style=style,
            columns=columns,
            rows=math.ceil(count / columns),
            frame_height=round(style.frame_width / frame_ratio),
            margin=2 * style.gap + 16,
            header_height=150,
        )
        shape = _TALLEST_SHAPE if columns < _USUAL_COLUMNS else _TALLEST_SHAPE_OF_MANY
        if columns >= count or layout.height <= shape * layout.width:
            return layout
        columns += 1
