"""Charts: what all projects cost, and how many frames were made, day by day.

Belongs here: drawing. Does not belong here: adding up (`pipeline.reporting`).

matplotlib's figures are used without pyplot, so that nothing is kept between two drawings and any
thread may draw. Names of models are anybody's text: they are drawn as they are, never read as
formulas.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from scene_pipeline.media.sheet_cells import drawable_text
from scene_pipeline.media.thumbnails import encode_within, fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHART_SIZE = (1600, 1000)
"""Pixels."""
MAX_CHART_DAYS = 366
_DOTS_PER_INCH = 100
_PREVIEW_SIDE = 1200
_PREVIEW_BYTES = 40_000
_MAX_MODELS = 7
"""Named in the legend; the others are drawn as one."""
_OTHERS = "other models"
_MAX_NAME_LENGTH = 40
_HEADROOM = 1.08
"""Of the vertical axes, above the highest bar."""
_MAX_TICKS = 12
_EDGE = 0.7
"""Days left free at either end."""
_BACKGROUND = "#ffffff"
_TEXT = "#22262e"
_QUIET = "#6c7480"
_GRID = "#e3e6ea"
_FRAMES = "#4c78a8"
# Told apart also by those who see few colours (Okabe and Ito); the last is for all others.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a200")
_OTHERS_COLOUR = "#9aa1ab"


@dataclass(frozen=True, slots=True)
class ChartDay:
    """One day of a chart."""

    day: date
    cost_usd: Mapping[str, float]
    """US dollars by model."""
    frames: int
    """Pictures made."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart that was drawn."""

    png: bytes = field(repr=False)
    preview: bytes = field(repr=False)
    """WebP of at most 40,000 bytes: thin lines and letters stay sharper than in a JPEG."""


def draw_portfolio_chart(days: Sequence[ChartDay]) -> Chart:
    """Draw cost per day, stacked by model, above frames per day.

    Args:
        days: Without gaps, the oldest first; 1 to 366.

    Returns:
        PNG of 1600 x 1000 pixels, the same bytes for the same days, and its preview.

    Raises:
        ValueError: There is no day, or there are more than 366.
    """
    if not 1 <= len(days) <= MAX_CHART_DAYS:
        message = f"A chart takes 1 to {MAX_CHART_DAYS} days, not {len(days)}."
        raise ValueError(message)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # heavy
    from matplotlib.figure import Figure  # noqa: PLC0415

    width, height = (side / _DOTS_PER_INCH for side in CHART_SIZE)
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor=_BACKGROUND)
    figure.set_layout_engine("constrained", w_pad=0.25, h_pad=0.25)
    FigureCanvasAgg(figure)
    costs, frames = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_costs(costs, days)
    _draw_frames(frames, days)
    target = io.BytesIO()
    # its version number would make other bytes of the same picture
    figure.savefig(target, format="png", metadata={"Software": None})
    png = target.getvalue()
    return Chart(png, _preview(png))


def _preview(png: bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415  # as above

    with Image.open(io.BytesIO(png), formats=("PNG",)) as chart:
        return encode_within(fit(chart.convert("RGB"), _PREVIEW_SIDE), _PREVIEW_BYTES, "WEBP")


def _draw_costs(axes: "Axes", days: Sequence[ChartDay]) -> None:
    names, has_others = _models(days)
    places = range(len(days))
    floor = [0.0] * len(days)
    shown = [*names, *([_OTHERS] if has_others else [])]
    bars = []
    for number, name in enumerate(shown):
        is_rest = has_others and number == len(names)
        heights = [_rest(day, names) if is_rest else day.cost_usd.get(name, 0.0) for day in days]
        colour = _OTHERS_COLOUR if is_rest else _COLOURS[number]
        bars.append(axes.bar(places, heights, bottom=floor, width=0.85, color=colour))
        floor = [low + high for low, high in zip(floor, heights, strict=True)]
    total = sum(floor)
    title = f"Cost per day by model: {_dollars(total)} in {len(days)} days"
    _dress(axes, title, "US dollars", max(floor))
    axes.yaxis.set_major_formatter(lambda value, _: _dollars(value))
    if shown:
        axes.legend(
            bars,
            [_label(name) for name in shown],
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            fontsize=11,
            labelcolor=_TEXT,
        )
    if not total:
        _say(axes, "Nothing was spent in these days.")


def _draw_frames(axes: "Axes", days: Sequence[ChartDay]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    numbers = [day.frames for day in days]
    axes.bar(range(len(days)), numbers, width=0.85, color=_FRAMES)
    title = f"Frames made per day: {sum(numbers):,} in {len(days)} days"
    _dress(axes, title, "frames", max(numbers))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    step = -(-len(days) // _MAX_TICKS)
    ticks = list(reversed(range(len(days) - 1, -1, -step)))
    axes.set_xticks(ticks, [f"{days[tick].day:%b} {days[tick].day.day}" for tick in ticks])
    axes.set_xlim(-_EDGE, len(days) - 1 + _EDGE)
    axes.set_xlabel(f"day (UTC), {days[0].day} to {days[-1].day}", color=_QUIET, fontsize=12)
    if not any(numbers):
        _say(axes, "No frame was made in these days.")


def _dress(axes: "Axes", title: str, unit: str, highest: float) -> None:
    axes.set_title(title, loc="left", fontsize=15, color=_TEXT, fontweight="bold")
    axes.set_ylabel(unit, color=_QUIET, fontsize=12)
    axes.tick_params(colors=_QUIET, labelsize=11)
    axes.grid(axis="y", color=_GRID)
    axes.set_axisbelow(True)
    axes.set_ylim(0, highest * _HEADROOM or 1)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)


def _say(axes: "Axes", words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=_QUIET, fontsize=14)


def _models(days: Sequence[ChartDay]) -> tuple[list[str], bool]:
    """The models that cost most, the dearest first, and whether there are others."""
    totals: dict[str, float] = {}
    for day in days:
        for name, amount in day.cost_usd.items():
            totals[name] = totals.get(name, 0.0) + amount
    ordered = sorted((name for name in totals if totals[name]), key=lambda n: (-totals[n], n))
    return ordered[:_MAX_MODELS], len(ordered) > _MAX_MODELS


def _rest(day: ChartDay, names: Sequence[str]) -> float:
    return sum(amount for name, amount in day.cost_usd.items() if name not in names)


def _dollars(amount: float) -> str:
    """Dollars for an axis, where a single "$" cannot begin a formula."""
    text = f"{amount:,.2f}" if amount >= 1 else f"{amount:.4f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"\\${whole}.{fraction:0<2}"


def _label(text: str) -> str:
    """A foreign text for a label: one line, bounded, its dollar signs mere characters."""
    # the font that matplotlib ships lacks most scripts, and models are named in plain letters
    cut = drawable_text(text).encode("ascii", "replace").decode()
    if len(cut) > _MAX_NAME_LENGTH:
        cut = f"{cut[: _MAX_NAME_LENGTH - 3]}..."
    return cut.replace("\\$", "$").replace("$", "\\$")
