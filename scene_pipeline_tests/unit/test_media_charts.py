"""The chart of all projects: whatever it is given, it is drawn, bounded and always the same."""

import io
from datetime import date, timedelta

import pytest
from PIL import Image

from scene_pipeline.media.charts import CHART_SIZE, ChartDay, draw_portfolio_chart

TODAY = date(2026, 11, 20)
BLUE, ORANGE, GREY = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x9A, 0xA1, 0xAB)
FRAMES_COLOUR = (0x4C, 0x78, 0xA8)


def days(*costs: dict[str, float], frames: int = 3) -> list[ChartDay]:
    """Consecutive days up to today."""
    first = TODAY - timedelta(days=len(costs) - 1)
    return [ChartDay(first + timedelta(days=n), cost, frames) for n, cost in enumerate(costs)]


def pixels(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


def amount_of(image: Image.Image, colour: tuple[int, int, int]) -> int:
    """Pixels of exactly this colour."""
    colours = image.getcolors(image.width * image.height) or []
    return next((number for number, other in colours if other == colour), 0)


def test_a_chart_shows_cost_by_model_above_frames() -> None:
    drawn = draw_portfolio_chart(days({"fal: dev": 0.3}, {"fal: dev": 0.3, "fal: pro": 0.15}))
    image = pixels(drawn.png)

    assert image.size == CHART_SIZE
    upper = image.crop((0, 0, image.width, image.height * 6 // 10))
    lower = image.crop((0, image.height * 6 // 10, image.width, image.height))
    assert amount_of(upper, BLUE) > 3 * amount_of(upper, ORANGE) > 3000
    assert amount_of(upper, FRAMES_COLOUR) == amount_of(lower, BLUE) == 0
    assert amount_of(lower, FRAMES_COLOUR) > 10_000


def test_equal_days_make_equal_bytes_and_each_part_shows() -> None:
    drawn = draw_portfolio_chart(days({"fal: dev": 0.3})).png

    assert draw_portfolio_chart(days({"fal: dev": 0.3})).png == drawn
    others = {
        draw_portfolio_chart(days({"fal: pro": 0.3})).png,
        draw_portfolio_chart(days({"fal: dev": 0.4})).png,
        draw_portfolio_chart(days({"fal: dev": 0.3}, frames=4)).png,
        draw_portfolio_chart(days({}, {"fal: dev": 0.3})).png,
    }
    assert len(others - {drawn}) == 4


def test_more_models_than_can_be_told_apart_become_one() -> None:
    few = draw_portfolio_chart(days({f"fal: model {n}": 0.1 for n in range(7)}))
    many = draw_portfolio_chart(days({f"fal: model {n}": 0.1 for n in range(12)}))

    assert amount_of(pixels(few.png), GREY) < 100 < amount_of(pixels(many.png), GREY)


def test_an_empty_time_is_told_as_such() -> None:
    image = pixels(draw_portfolio_chart(days(*({} for _ in range(60)), frames=0)).png)

    assert image.size == CHART_SIZE
    assert len(image.getcolors(10_000) or []) > 10, "it has titles, axes and two sentences"


@pytest.mark.parametrize(
    "name", ["$x$", "$\\frac{", "_hidden", "\\$", "a\nb" * 200, "\u202eevil", "", "模型 <b>"]
)
def test_a_models_name_is_drawn_and_never_read(name: str) -> None:
    drawn = draw_portfolio_chart(days({name: 0.3, "fal: dev": 0.1}))

    assert amount_of(pixels(drawn.png), BLUE) > 1000


def test_the_preview_fits_into_an_event() -> None:
    costs = [{f"fal: model {n}": (n * day) % 7 / 9 for n in range(9)} for day in range(60)]

    preview = draw_portfolio_chart(days(*costs)).preview

    assert len(preview) <= 40_000
    with Image.open(io.BytesIO(preview)) as image:
        assert (image.format, image.width > 800) == ("WEBP", True)


@pytest.mark.parametrize("number", [0, 367])
def test_a_chart_of_no_or_too_many_days_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="1 to 366 days"):
        draw_portfolio_chart(days(*({} for _ in range(number))))
