"""What the scene stands on, by place.

Belongs here: the choice of the ground, the sea and the forest. Does not belong here: single
figures.
"""

import math

from PIL import Image

from scene_pipeline.providers.landscape.built import city, interior
from scene_pipeline.providers.landscape.canvas import Canvas, Point, Silhouette
from scene_pipeline.providers.landscape.ground import (
    RIDGE_STEPS,
    hills,
    layer_colour,
    mist,
    ridge,
    swell,
)
from scene_pipeline.providers.landscape.mood import blend


def draw_terrain(canvas: Canvas) -> float:
    """Draw the place's ground; returns the height (from the top) that figures stand on."""
    place = canvas.mood.place
    if place == "sea":
        return _sea(canvas)
    if place == "city":
        return city(canvas)
    if place == "interior":
        return interior(canvas)
    if place == "forest":
        return _forest(canvas)
    return hills(canvas)


def _forest(canvas: Canvas) -> float:
    room = canvas.height - canvas.horizon
    layers = 4
    for index in range(layers):
        nearness = index / (layers - 1)
        level = canvas.horizon + room * (0.12 + 0.62 * nearness**1.3)
        if index:
            mist(canvas, level, room * 0.45)
        shape = Silhouette(canvas)
        shape.polygon(ridge(canvas, level, canvas.unit * 0.03, 1.4))
        size = canvas.unit * (0.12 + 0.3 * nearness**1.5)
        x = -size * 0.3
        while x < canvas.width + size * 0.3:
            clearing = abs(x / canvas.width - 0.5) < 0.24 * nearness
            if not clearing:
                _pine(canvas, shape, (x, level + size * 0.1), size)
            x += size * canvas.random.uniform(0.16, 0.42)
        canvas.wash(layer_colour(canvas, 0.15 + 0.85 * nearness), shape.mask())
    return canvas.horizon + room * 0.76


def _pine(canvas: Canvas, shape: Silhouette, foot: Point, size: float) -> None:
    random = canvas.random
    x, y = foot
    size *= random.uniform(0.65, 1.2)
    shape.box(x - size * 0.015, y - size * 0.2, x + size * 0.015, y + size * 0.1)
    for tier in range(5):
        top = y - size * (1 - tier * 0.16)
        half = size * (0.055 + tier * 0.038) * random.uniform(0.85, 1.15)
        lean = random.uniform(-0.01, 0.01) * size
        shape.polygon(
            [(x + lean, top), (x + half, top + size * 0.26), (x - half, top + size * 0.26)]
        )


def _sea(canvas: Canvas) -> float:
    width, height = canvas.image.size
    horizon = round(canvas.horizon)
    mood = canvas.mood
    shape = Silhouette(canvas)
    shape.polygon(ridge(canvas, canvas.horizon + canvas.unit * 0.012, canvas.unit * 0.03, 1.2))
    canvas.wash(layer_colour(canvas, 0.12), shape.mask())
    sky = canvas.image.crop((0, max(2 * horizon - height, 0), width, horizon))
    water = sky.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((width, height - horizon))
    dark = Image.new("RGB", water.size, blend(mood.ground, mood.sky[0], 0.35))
    depth = Image.linear_gradient("L").resize(water.size).point(lambda value: 90 + value // 2)
    canvas.image.paste(Image.composite(dark, water, depth), (0, horizon))
    swell(canvas, horizon)
    level = canvas.horizon + (height - canvas.horizon) * 0.84
    shore = Silhouette(canvas)
    shore.polygon(_cliff(canvas, level))
    canvas.wash(layer_colour(canvas, 1.0), shore.mask())
    return level


def _cliff(canvas: Canvas, level: float) -> list[Point]:
    """A headland that rises to one side, so that figures stand above the water."""
    random = canvas.random
    points: list[Point] = []
    for step in range(RIDGE_STEPS + 1):
        share = step / RIDGE_STEPS
        rise = canvas.unit * 0.1 / (1 + math.exp((share - 0.38) * 16))
        rough = canvas.unit * random.uniform(-0.006, 0.006)
        sink = (canvas.height - level) * 0.92 / (1 + math.exp((0.56 - share) * 13))
        points.append((share * canvas.width, level - rise + sink + rough))
    return [*points, (canvas.width, canvas.height), (0, canvas.height)]
