"""The prompts table: one row per scene of what would be sent, for `--dry-run` and metadata.

Belongs here: its columns and its rendering as Markdown. Does not belong here: prices and decisions,
which planning adds as columns of its own.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from scene_pipeline.scenes.document import Scene
from scene_pipeline.scenes.prompts import EXPANSION_VERSION
from scene_pipeline.scenes.requests import ResolvedRequest

if TYPE_CHECKING:
    import pandas as pd

_COLUMN_TYPES = {
    "scene_id": "string",
    "position": "int64",
    "prompt": "string",
    "prompt_characters": "int64",
    "characters": "string",
    "expanded_prompt": "string",
    "expanded_characters": "int64",
    "expansion_version": "int64",
    "size": "string",
    "provider": "string",
    "model": "string",
    "content_hash": "string",
}
PROMPTS_TABLE_COLUMNS = tuple(_COLUMN_TYPES)


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One scene's line of the prompts table."""

    scene_id: str
    position: int
    prompt: str
    """The document's words."""
    prompt_characters: int
    """Length of `prompt`."""
    characters: str
    """Names of those whose descriptions are added, "Ilsa, Noor"."""
    expanded_prompt: str
    """What is sent."""
    expanded_characters: int
    """Length of `expanded_prompt`."""
    expansion_version: int
    size: str
    """"1024x576"."""
    provider: str
    model: str
    content_hash: str


def prompt_row(scene: Scene, request: ResolvedRequest) -> PromptRow:
    """Make a scene's line of the table."""
    return PromptRow(
        scene_id=scene.scene_id,
        position=scene.position,
        prompt=scene.prompt,
        prompt_characters=len(scene.prompt),
        characters=", ".join(request.character_names),
        expanded_prompt=request.prompt,
        expanded_characters=len(request.prompt),
        expansion_version=EXPANSION_VERSION,
        size=str(request.size),
        provider=request.provider,
        model=request.endpoint,
        content_hash=request.content_hash,
    )


def prompts_table(rows: Iterable[PromptRow]) -> "pd.DataFrame":
    """Make the prompts table, in the order of the rows; empty input keeps the columns and types."""
    import pandas as pd  # noqa: PLC0415  # half a second of imports, for tables only

    frame = pd.DataFrame([asdict(row) for row in rows], columns=list(_COLUMN_TYPES))
    return frame.astype(_COLUMN_TYPES)


def markdown_table(
    frame: "pd.DataFrame", *, max_rows: int = 100, max_cell_characters: int = 80
) -> str:
    """Render a table as Markdown, bounded in both directions.

    Texts cannot break out of their cell: line breaks become spaces, and what Markdown or HTML would
    read as markup is escaped.

    Args:
        frame: Any table; its index is left out.
        max_rows: How many rows are shown; a line below says how many more there are.
        max_cell_characters: Where a cell's text is cut off with an ellipsis.
    """
    lines = [_line(frame.columns, max_cell_characters), "|" + " --- |" * len(frame.columns)]
    shown = frame.head(max_rows)
    lines.extend(
        _line(row, max_cell_characters) for row in shown.itertuples(index=False, name=None)
    )
    if len(frame) > len(shown):
        lines.append(f"\n{len(frame) - len(shown)} more rows are not shown.")
    return "\n".join(lines)


def _line(cells: Iterable[object], max_characters: int) -> str:
    return "| " + " | ".join(_cell(cell, max_characters) for cell in cells) + " |"


def _cell(value: object, max_characters: int) -> str:
    text = " ".join(str(value).split())
    if len(text) > max_characters:
        text = text[: max_characters - 1].rstrip() + "\u2026"
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\|*`[]":
        text = text.replace(mark, f"\\{mark}")
    return text
