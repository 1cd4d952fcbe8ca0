"""Silhouettes that the prompt names: lighthouse, ship, house, person, tree, fire, birds.

Belongs here: single figures, one function each, listed in one table. Does not belong here: ground.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from PIL import Image, ImageChops

from scene_pipeline.providers.landscape.canvas import Canvas, Point, Silhouette, moved
from scene_pipeline.providers.landscape.mood import blend

_INDOORS = frozenset({"person"})
_WARM = (255, 196, 110)
_INK = 0.72
"""How far a figure's colour goes from the ground's to black."""


def draw_figures(canvas: Canvas, level: float) -> None:
    """Draw the figures that were named, standing on a level (pixels from the top)."""
    for name in canvas.mood.figures:
        if canvas.mood.place != "interior" or name in _INDOORS:
            _FIGURES[name](canvas, level)


def _fill(canvas: Canvas, shape: Silhouette) -> None:
    canvas.wash(blend(canvas.mood.ground, (4, 6, 10), _INK), shape.mask())


def _lighthouse(canvas: Canvas, level: float) -> None:
    unit = canvas.unit
    x = canvas.width * canvas.random.uniform(0.16, 0.26)
    foot = level - unit * (0.06 if canvas.mood.place == "sea" else 0.0)
    tall = unit * 0.4
    top = foot - tall
    head: Point = (x, top - unit * 0.022)
    if canvas.mood.hour != "day":
        _beam(canvas, head)
    shape = Silhouette(canvas)
    shape.polygon(
        [
            (x - unit * 0.036, foot + unit * 0.05),
            (x - unit * 0.021, top),
            (x + unit * 0.021, top),
            (x + unit * 0.036, foot + unit * 0.05),
        ]
    )
    shape.box(x - unit * 0.031, top - unit * 0.006, x + unit * 0.031, top + unit * 0.008)
    shape.polygon(
        [
            (x - unit * 0.021, top - unit * 0.04),
            (x, top - unit * 0.068),
            (x + unit * 0.021, top - unit * 0.04),
        ]
    )
    shape.box(x + unit * 0.03, foot - unit * 0.035, x + unit * 0.12, foot + unit * 0.05)
    shape.polygon(
        [
            (x + unit * 0.022, foot - unit * 0.035),
            (x + unit * 0.075, foot - unit * 0.075),
            (x + unit * 0.128, foot - unit * 0.035),
        ]
    )
    _fill(canvas, shape)
    lights = Silhouette(canvas)
    lights.box(x - unit * 0.014, top - unit * 0.038, x + unit * 0.014, top - unit * 0.007)
    lights.box(x + unit * 0.06, foot - unit * 0.018, x + unit * 0.075, foot + unit * 0.004)
    canvas.wash((255, 226, 160), lights.mask())
    if canvas.mood.hour != "day":
        canvas.glow(_WARM, head, unit * 0.16, 0.75)


def _beam(canvas: Canvas, head: Point) -> None:
    x, y = head
    beam = Silhouette(canvas)
    rise = canvas.random.uniform(-0.1, 0.05)
    far = canvas.width - x
    beam.polygon(
        [
            (x, y - 2),
            (canvas.width, y + far * (rise - 0.07)),
            (canvas.width, y + far * (rise + 0.07)),
            (x, y + 2),
        ],
        130,
    )
    beam.polygon(
        [(x, y - 1), (0, y - x * (rise - 0.06)), (0, y - x * (rise + 0.06)), (x, y + 1)], 80
    )
    fade = Image.radial_gradient("L").resize((canvas.width * 2, canvas.width * 2))
    left, top = round(canvas.width - x), round(canvas.width - y)
    fade = fade.crop((left, top, left + canvas.width, top + canvas.height))
    near = fade.point(lambda value: max(0, 255 - value * 3 // 2))
    canvas.wash((255, 232, 176), ImageChops.multiply(beam.mask(), near))


def _ship(canvas: Canvas, level: float) -> None:
    unit = canvas.unit
    is_sea = canvas.mood.place == "sea"
    x = canvas.width * canvas.random.uniform(0.56, 0.8)
    y = canvas.horizon + (level - canvas.horizon) * 0.3 if is_sea else level
    size = unit * canvas.random.uniform(0.13, 0.18)
    shape = Silhouette(canvas)
    shape.polygon(
        [
            (x - size * 0.55, y - size * 0.12),
            (x + size * 0.62, y - size * 0.16),
            (x + size * 0.42, y + size * 0.06),
            (x - size * 0.42, y + size * 0.06),
        ]
    )
    for mast, tall in ((-0.14, 0.85), (0.22, 0.66)):
        foot = (x + size * mast, y - size * 0.1)
        shape.line([foot, (foot[0], y - size * tall)], size * 0.022)
        shape.polygon(
            [
                (foot[0] + size * 0.02, y - size * tall * 0.94),
                (foot[0] + size * 0.02, y - size * 0.2),
                (foot[0] + size * 0.3, y - size * 0.22),
            ],
            215,
        )
    _fill(canvas, shape)
    canvas.glow(_WARM, (x - size * 0.4, y - size * 0.2), size * 0.3, 0.6)


def _house(canvas: Canvas, level: float) -> None:
    unit = canvas.unit
    x = canvas.width * canvas.random.uniform(0.6, 0.74)
    size = unit * 0.2
    y = level + unit * 0.01
    shape, lights = Silhouette(canvas), Silhouette(canvas)
    shape.box(x - size * 0.5, y - size * 0.42, x + size * 0.5, canvas.height)
    shape.polygon(
        [
            (x - size * 0.62, y - size * 0.4),
            (x - size * 0.12, y - size * 0.8),
            (x + size * 0.12, y - size * 0.8),
            (x + size * 0.62, y - size * 0.4),
        ]
    )
    shape.box(x + size * 0.2, y - size * 0.95, x + size * 0.32, y - size * 0.6)
    for offset in (-0.28, 0.16):
        left = x + size * offset
        lights.box(left, y - size * 0.28, left + size * 0.13, y - size * 0.1)
    _fill(canvas, shape)
    canvas.wash(_WARM, lights.mask())
    canvas.glow(_WARM, (x, y - size * 0.2), size * 0.8, 0.35)


def _person(canvas: Canvas, level: float) -> None:
    unit = canvas.unit
    x = canvas.width * canvas.random.uniform(0.36, 0.5)
    tall = unit * 0.15
    foot = min(level + unit * 0.05, canvas.height * 0.97)
    if canvas.mood.place == "sea":
        foot = level - unit * 0.01
        x = canvas.width * canvas.random.uniform(0.31, 0.37)
    shape = Silhouette(canvas)
    shape.ellipse((x, foot - tall * 0.92), tall * 0.07, tall * 0.085)
    shape.polygon(
        [
            (x - tall * 0.1, foot - tall * 0.8),
            (x + tall * 0.1, foot - tall * 0.8),
            (x + tall * 0.16, foot - tall * 0.3),
            (x - tall * 0.15, foot - tall * 0.3),
        ]
    )
    shape.polygon(
        [
            (x - tall * 0.1, foot - tall * 0.35),
            (x - tall * 0.01, foot - tall * 0.35),
            (x - tall * 0.03, foot),
            (x - tall * 0.1, foot),
        ]
    )
    shape.polygon(
        [
            (x + tall * 0.01, foot - tall * 0.35),
            (x + tall * 0.1, foot - tall * 0.35),
            (x + tall * 0.11, foot),
            (x + tall * 0.04, foot),
        ]
    )
    _fill(canvas, shape)
    rim = shape.mask()
    shift = 1 if canvas.lamp[0] < x else -1
    edge = ImageChops.subtract(rim, moved(rim, (shift, 1)))
    canvas.wash(blend(canvas.mood.sky[2], canvas.mood.light, 0.5), edge)


def _tree(canvas: Canvas, level: float) -> None:
    x = canvas.width * canvas.random.choice((0.8, 0.88))
    shape = Silhouette(canvas)
    _grow(canvas, shape, (x, level + canvas.unit * 0.1), (0.0, -canvas.unit * 0.15), forks=6)
    _fill(canvas, shape)


def _grow(canvas: Canvas, shape: Silhouette, foot: Point, way: Point, forks: int) -> None:
    """Draw a branch from its foot along a way, and two thinner ones from its tip."""
    tip = (foot[0] + way[0], foot[1] + way[1])
    shape.line([foot, tip], math.hypot(*way) * 0.11)
    if forks == 0:
        return
    for turn in (-0.42, 0.38):
        angle = math.atan2(way[1], way[0]) + turn + canvas.random.uniform(-0.16, 0.16)
        length = math.hypot(*way) * 0.74
        _grow(canvas, shape, tip, (math.cos(angle) * length, math.sin(angle) * length), forks - 1)


def _fire(canvas: Canvas, level: float) -> None:
    unit = canvas.unit
    x = canvas.width * canvas.random.uniform(0.52, 0.62)
    y = min(level + unit * 0.07, canvas.height * 0.95)
    canvas.glow(_WARM, (x, y - unit * 0.03), unit * 0.34, 0.8)
    for half, tall, colour in (
        (0.034, 0.1, (214, 84, 28)),
        (0.022, 0.075, (250, 154, 52)),
        (0.011, 0.045, (255, 232, 160)),
    ):
        shape = Silhouette(canvas)
        lean = canvas.random.uniform(-0.01, 0.01) * unit
        shape.ellipse((x, y - unit * half * 0.6), unit * half, unit * half * 0.8)
        shape.polygon(
            [
                (x - unit * half, y - unit * half * 0.8),
                (x + lean, y - unit * tall),
                (x + unit * half, y - unit * half * 0.8),
            ]
        )
        canvas.wash(colour, shape.mask())


def _birds(canvas: Canvas, _level: float) -> None:
    random, unit = canvas.random, canvas.unit
    shape = Silhouette(canvas)
    centre = (canvas.width * random.uniform(0.4, 0.7), canvas.horizon * random.uniform(0.3, 0.55))
    for _ in range(random.randint(6, 11)):
        x = centre[0] + random.gauss(0, unit * 0.13)
        y = centre[1] + random.gauss(0, unit * 0.06)
        wing = unit * random.uniform(0.01, 0.02)
        lift = wing * random.uniform(0.3, 0.7)
        shape.line([(x - wing, y - lift), (x, y), (x + wing, y - lift)], unit * 0.0025)
    _fill(canvas, shape)


_FIGURES: Mapping[str, Callable[[Canvas, float], None]] = MappingProxyType(
    {
        "lighthouse": _lighthouse,
        "ship": _ship,
        "house": _house,
        "person": _person,
        "tree": _tree,
        "fire": _fire,
        "birds": _birds,
    }
)
