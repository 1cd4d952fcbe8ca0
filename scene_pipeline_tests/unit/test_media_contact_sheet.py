"""The contact sheet: whatever it is given, it is drawn, bounded and always the same."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from scene_pipeline.media.contact_sheet import SheetCell, draw_contact_sheet, reduce_sheet
from scene_pipeline.media.sheet_layout import (
    MAX_SHEET_PIXELS,
    MAX_SHEET_SIDE_PIXELS,
    plan_layout,
)
from scene_pipeline_tests.standins.pictures import draw_scene, encode

FRAME = encode(draw_scene(3), "JPEG")


def cell(**over: object) -> SheetCell:
    base = SheetCell("scene_1", "current", "A keeper climbs the stairs", FRAME, 1)
    return replace(base, **over)  # type: ignore[arg-type]  # names are checked by `replace`


def pixels(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


def test_a_sheet_shows_each_frame_in_four_columns() -> None:
    sheet = pixels(draw_contact_sheet("Film", "12 scenes", [cell() for _ in range(12)]))
    layout = plan_layout(12, 4, 16 / 9)
    assert sheet.size == (layout.width, layout.height)
    assert (layout.columns, layout.rows) == (4, 3)
    original = draw_scene(3)
    for index in range(12):
        x, y = layout.cell_position(index)
        middle = (x + layout.style.padding + 160, y + layout.style.padding + 90)
        shown, expected = sheet.getpixel(middle), original.getpixel((160, 90))
        assert isinstance(shown, tuple)
        assert isinstance(expected, tuple)
        assert all(abs(a - b) < 40 for a, b in zip(shown, expected, strict=True))


def test_equal_cells_make_equal_bytes_and_each_part_shows() -> None:
    drawn = draw_contact_sheet("Film", "subtitle", [cell()])
    assert drawn == draw_contact_sheet("Film", "subtitle", [cell()])
    changes: list[dict[str, object]] = [
        {"scene_id": "scene_2"},
        {"state": "failed"},
        {"caption": "Another prompt"},
        {"thumbnail": None},
        {"version": 2},
        {"version": None},
    ]
    others = {draw_contact_sheet("Film", "subtitle", [cell(**change)]) for change in changes}
    others |= {draw_contact_sheet("Other", "subtitle", [cell()])}
    others |= {draw_contact_sheet("Film", "another", [cell()])}
    assert len(others - {drawn}) == len(changes) + 2


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "霧の灯台", "منارة الضباب", "🌊🏮", "a" * 5000, "a\nb\tc\x00\x07\u202e",
        "\ud800", "<b>&amp;", "word " * 300,
    ],
)  # fmt: skip
def test_any_text_is_drawn_without_breaking_the_sheet(text: str) -> None:
    drawn = draw_contact_sheet(text, text, [cell(scene_id=text, state=text, caption=text)])
    assert pixels(drawn).size == pixels(draw_contact_sheet("a", "b", [cell()])).size


@pytest.mark.parametrize("thumbnail", [b"", b"no picture", FRAME[:200], None])
def test_a_frame_that_cannot_be_shown_gets_a_placeholder(thumbnail: bytes | None) -> None:
    shown = draw_contact_sheet("Film", "", [cell(thumbnail=thumbnail)])
    assert shown != draw_contact_sheet("Film", "", [cell()])


def test_upright_frames_get_upright_cells() -> None:
    upright = encode(draw_scene(size=(180, 320)), "JPEG")
    narrow = pixels(draw_contact_sheet("Film", "", [cell(thumbnail=upright)]))
    assert narrow.height > pixels(draw_contact_sheet("Film", "", [cell()])).height


@pytest.mark.parametrize("count", [0, 1, 5, 12, 100, 435, 1000, 2500, 4999, 5000])
@pytest.mark.parametrize("ratio", [3 / 4, 1.0, 16 / 9, 21 / 9])
def test_every_sheet_stays_within_what_viewers_open(count: int, ratio: float) -> None:
    layout = plan_layout(count, 4, ratio)
    assert max(layout.width, layout.height) <= MAX_SHEET_SIDE_PIXELS
    assert layout.width * layout.height <= MAX_SHEET_PIXELS
    last_x, last_y = layout.cell_position(max(count - 1, 0))
    assert last_x + layout.style.cell_width <= layout.width
    assert last_y + layout.cell_height <= layout.height


def test_more_cells_than_a_sheet_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="5000 scenes, not 5001"):
        draw_contact_sheet("Film", "", [cell(thumbnail=None)] * 5001)


@pytest.mark.parametrize("count", [0, 12, 120])
def test_a_sheet_is_reduced_for_inline_display(count: int) -> None:
    png = draw_contact_sheet("Film", "", [cell(scene_id=f"scene_{n}") for n in range(count)])
    preview = reduce_sheet(png)
    assert len(preview) <= 40_000
    with Image.open(io.BytesIO(preview)) as image:
        assert image.format == "JPEG"
        full = pixels(png)
        assert abs(image.width / image.height - full.width / full.height) < 0.05
