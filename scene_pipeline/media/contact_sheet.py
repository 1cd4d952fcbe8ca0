"""A project's frames on one picture: what is there, what is missing, what failed.

Belongs here: drawing. Does not belong here: which scenes are shown (`pipeline`) and how large
(`media.sheet_layout`). Thumbnails are decoded here, so it runs in a worker
(`media.workers.ImageWorkers.contact_sheet`).
"""

import io
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from statistics import median

from PIL import Image, ImageDraw, ImageFont, ImageOps

from scene_pipeline.media.formats import IMAGE_FORMATS
from scene_pipeline.media.sheet_cells import SheetCell, check_cells, drawable_text
from scene_pipeline.media.sheet_layout import CellStyle, SheetLayout, plan_layout
from scene_pipeline.media.thumbnails import encode_within, reduce_to_rgb

__all__ = ["SheetCell", "draw_contact_sheet", "reduce_sheet"]

_BACKGROUND = "#14161a"
_CARD = "#1e2127"
_EMPTY_FRAME = "#272b33"
_HATCH = "#30353f"
_TEXT = "#f1f2f4"
_QUIET_TEXT = "#a2a9b6"
_BADGE_TEXT = "#101216"
_STATE_COLOURS = {
    "current": "#5fd38d",
    "locked": "#7fb2f0",
    "external": "#6fc7d1",
    "generating": "#a9c3e6",
    "stale": "#f0c75e",
    "blocked": "#f2a65a",
    "ambiguous": "#c69cf0",
    "failed": "#f27a7a",
    "invalid": "#e06b9c",
}
_OTHER_STATE_COLOUR = "#8b93a1"
_FALLBACK_RATIO = 16 / 9
_SUPERSAMPLING = 4
_PREVIEW_SIDE_PIXELS = 1600


def draw_contact_sheet(
    title: str, subtitle: str, cells: Sequence[SheetCell], columns: int = 4
) -> bytes:
    """Draw a contact sheet.

    Args:
        title: The project's title.
        subtitle: One line below it.
        cells: Scenes in their order, at most 5000.
        columns: Fewest columns; many scenes get more columns and smaller cells, so that a sheet
            stays below 16,000 pixels a side and 40 megapixels.

    Returns:
        PNG; the same bytes for the same cells.

    Raises:
        ValueError: There are more than 5000 cells.
    """
    check_cells(cells)
    layout = plan_layout(len(cells), max(columns, 1), _common_ratio(cells))
    sheet = Image.new("RGB", (layout.width, layout.height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_titles(draw, layout, title, subtitle)
    _draw_counts(sheet, draw, layout, cells)
    for index, cell in enumerate(cells):
        _draw_cell(sheet, draw, layout, cell, layout.cell_position(index))
    target = io.BytesIO()
    sheet.save(target, "PNG", compress_level=6)
    return target.getvalue()


def reduce_sheet(png: bytes, max_bytes: int = 40_000) -> bytes:
    """Reduce a sheet of ours to a JPEG that is small enough for a `data:` URI."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as sheet:
        preview = ImageOps.contain(
            sheet.convert("RGB"), (_PREVIEW_SIDE_PIXELS, _PREVIEW_SIDE_PIXELS)
        )
    return encode_within(preview, max_bytes)


def _draw_titles(draw: ImageDraw.ImageDraw, layout: SheetLayout, title: str, subtitle: str) -> None:
    room = layout.width - 2 * layout.margin
    for y, size, colour, text in ((34, 38, _TEXT, title), (84, 18, _QUIET_TEXT, subtitle)):
        font = _font(size)
        draw.text((layout.margin, y), _shorten(drawable_text(text), font, room), colour, font)


def _draw_counts(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, layout: SheetLayout, cells: Sequence[SheetCell]
) -> None:
    """One line that sums the states up, as far as it fits."""
    font, dot = _font(15), 10
    x, y = layout.margin, 126
    if not cells:
        draw.text((x, y), "no scenes", _QUIET_TEXT, font, anchor="lm")
    for state, count in Counter(cell.state for cell in cells).items():
        label = f"{count} {drawable_text(state)}"
        width = round(font.getlength(label)) + dot + 24
        if x + width > layout.width - layout.margin:
            return
        sheet.paste(_state_colour(state), (x, y - dot // 2), _rounded(dot, dot, dot // 2))
        draw.text((x + dot + 6, y), label, _QUIET_TEXT, font, anchor="lm")
        x += width


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    layout: SheetLayout,
    cell: SheetCell,
    position: tuple[int, int],
) -> None:
    style = layout.style
    x, y = position
    sheet.paste(_CARD, position, _rounded(style.cell_width, layout.cell_height, style.radius))
    frame_size = (style.frame_width, layout.frame_height)
    frame = _frame(cell, frame_size, style)
    inner_radius = max(style.radius - style.padding // 2, 2)
    left, top = x + style.padding, y + style.padding
    sheet.paste(frame, (left, top), _rounded(*frame_size, inner_radius))

    name_top = top + layout.frame_height
    middle = name_top + round(style.name_size * 0.9) + style.padding // 2
    right = _draw_badge(sheet, draw, cell.state, (left + style.frame_width, middle), style)
    font = _font(style.name_size)
    version = f"v{cell.version}" if cell.version is not None else ""
    name_room = right - left - round(font.getlength(f" {version}  "))
    name = _shorten(drawable_text(cell.scene_id), font, name_room)
    draw.text((left, middle), name, _TEXT, font, anchor="lm")
    if version:
        after_name = left + font.getlength(f"{name} ")
        draw.text((after_name, middle), version, _QUIET_TEXT, font, anchor="lm")
    if style.caption_size:
        _draw_caption(draw, cell.caption, (left, middle + style.name_size), style)


def _draw_badge(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    state: str,
    anchor: tuple[int, int],
    style: CellStyle,
) -> int:
    """Draw the state left of the anchor; give the x that the name must keep clear of."""
    right, middle = anchor
    colour = _state_colour(state)
    if not style.badge_size:
        radius = max(style.name_size // 3, 2)
        sheet.paste(
            colour, (right - 2 * radius, middle - radius), _rounded(*[2 * radius] * 2, radius)
        )
        return right - 2 * radius - 4
    font = _font(style.badge_size)
    label = _shorten(drawable_text(state) or "?", font, style.frame_width // 2)
    height = round(style.badge_size * 1.6)
    width = round(font.getlength(label)) + height
    left = right - width
    sheet.paste(colour, (left, middle - height // 2), _rounded(width, height, height // 2))
    draw.text((left + width / 2, middle), label, _BADGE_TEXT, font, anchor="mm")
    return left - 8


def _draw_caption(
    draw: ImageDraw.ImageDraw, caption: str, position: tuple[int, int], style: CellStyle
) -> None:
    font = _font(style.caption_size)
    words = drawable_text(caption).split(" ")
    first: list[str] = []
    while words and font.getlength(" ".join((*first, words[0]))) <= style.frame_width:
        first.append(words.pop(0))
    # a single word that is too long for the line is shortened on the first one
    lines = [" ".join(first), " ".join(words)] if first else [" ".join(words)]
    for number, line in enumerate(lines):
        y = position[1] + round(number * style.caption_size * 1.35)
        draw.text((position[0], y), _shorten(line, font, style.frame_width), _QUIET_TEXT, font)


def _frame(cell: SheetCell, size: tuple[int, int], style: CellStyle) -> Image.Image:
    picture = _open(cell.thumbnail)
    if picture is None:
        label = "unreadable" if cell.thumbnail else "no frame"
        return _placeholder(size, label, style.name_size)
    return ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color=_EMPTY_FRAME)


@lru_cache(maxsize=8)
def _placeholder(size: tuple[int, int], label: str, font_size: int) -> Image.Image:
    frame = Image.new("RGB", size, _EMPTY_FRAME)
    draw = ImageDraw.Draw(frame)
    width, height = size
    step = max(width // 16, 6)
    for x in range(-height, width, step):
        draw.line((x, height, x + height, 0), fill=_HATCH, width=max(step // 6, 1))
    font = _font(font_size)
    if font.getlength(label) < width:
        draw.text(
            (width / 2, height / 2), label, _QUIET_TEXT, font, anchor="mm",
            stroke_width=max(font_size // 4, 1), stroke_fill=_EMPTY_FRAME,
        )  # fmt: skip
    return frame


def _open(thumbnail: bytes | None) -> Image.Image | None:
    if not thumbnail:
        return None
    try:
        with Image.open(io.BytesIO(thumbnail), formats=IMAGE_FORMATS) as image:
            return reduce_to_rgb(image)
    except (OSError, ValueError, SyntaxError):
        return None


def _common_ratio(cells: Sequence[SheetCell]) -> float:
    """Width over height of the typical frame, kept between upright 3:4 and wide 21:9."""
    ratios = []
    for cell in cells:
        try:
            with Image.open(io.BytesIO(cell.thumbnail or b""), formats=IMAGE_FORMATS) as image:
                ratios.append(image.width / image.height)
        except (OSError, ValueError, SyntaxError):
            continue
    return min(max(median(ratios), 3 / 4), 21 / 9) if ratios else _FALLBACK_RATIO


def _state_colour(state: str) -> str:
    return _STATE_COLOURS.get(state, _OTHER_STATE_COLOUR)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font, so that nothing depends on the system's."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow built without FreeType
        message = "Pillow was built without FreeType."
        raise TypeError(message)
    return font


@lru_cache(maxsize=64)
def _rounded(width: int, height: int, radius: int) -> Image.Image:
    """A mask with smooth round corners: drawn larger and reduced, as Pillow draws hard edges."""
    scale = _SUPERSAMPLING
    mask = Image.new("L", (width * scale, height * scale), 0)
    box = (0, 0, width * scale - 1, height * scale - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * scale, fill=255)
    return mask.resize((width, height), Image.Resampling.BOX)


def _shorten(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Cut a text to the room there is, ending in an ellipsis where something was cut."""
    if font.getlength(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + "…") <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""
