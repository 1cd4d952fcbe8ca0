"""What a contact sheet shows, as plain values that cross into a worker.

Belongs here: values and their bounds. Does not belong here: drawing (`media.contact_sheet`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_CELLS = 5000
_MAX_TEXT_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class SheetCell:
    """One scene on a contact sheet."""

    scene_id: str
    state: str
    """One word, as the view `scene_status` has it: current, stale, missing, failed, ..."""
    caption: str = ""
    """The prompt's first words; shortened to what fits."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """JPEG, PNG or WebP of the frame; None where there is none."""
    version: int | None = None


def drawable_text(text: str) -> str:
    """One line of printable characters, bounded: what fonts and layout can work with."""
    cut = " ".join(text[:_MAX_TEXT_CHARACTERS].split())
    return "".join(char for char in cut if char.isprintable())


def check_cells(cells: Sequence[SheetCell]) -> None:
    """Bound a sheet.

    Raises:
        ValueError: There are more than 5000 cells.
    """
    if len(cells) > MAX_CELLS:
        message = f"A contact sheet takes {MAX_CELLS} scenes, not {len(cells)}."
        raise ValueError(message)
