"""Ground that several places share: ridges behind one another, mist between them, swell.

Belongs here: masses that know no place. Does not belong here: the places (`terrain`, `built`).
"""

import math

from PIL import Image, ImageChops, ImageDraw

from scene_pipeline.providers.landscape.canvas import Canvas, Point, Silhouette, moved
from scene_pipeline.providers.landscape.mood import Colour, blend

RIDGE_STEPS = 96
"""Corners of a ridge line across the picture."""


def layer_colour(canvas: Canvas, nearness: float) -> Colour:
    """Aerial perspective: far ground takes the colour of the low sky."""
    haze = blend(canvas.mood.sky[1], canvas.mood.sky[2], 0.45)
    thickness = 0.9 if canvas.mood.weather in {"fog", "snow"} else 0.72
    return blend(haze, canvas.mood.ground, 1 - thickness * (1 - nearness) ** 1.25)


def ridge(
    canvas: Canvas, level: float, height: float, roughness: float, *, is_sharp: bool = False
) -> list[Point]:
    """A ridge line around a level: a few waves and some jitter, closed at the bottom."""
    random = canvas.random
    waves = [
        (
            height / (index + 1) ** roughness,
            random.uniform(0.6, 1.5) * (index + 1) * 1.7,
            random.uniform(0, math.tau),
        )
        for index in range(7)
    ]
    points = []
    for step in range(RIDGE_STEPS + 1):
        share = step / RIDGE_STEPS
        swings = [math.sin(speed * share * math.tau + at) for _, speed, at in waves]
        if is_sharp:
            swings = [math.asin(swing) * 2 / math.pi for swing in swings]
        lift = sum(size * swing for (size, _, _), swing in zip(waves, swings, strict=True))
        jitter = random.uniform(-1, 1) * height * 0.035
        points.append((share * canvas.width, level - lift * 0.5 - jitter))
    return [*points, (canvas.width, canvas.height), (0, canvas.height)]


def mist(canvas: Canvas, level: float, depth: float) -> None:
    """A veil that lies in the valley behind the next ridge."""
    strength = 150 if canvas.mood.weather == "fog" else 80
    rows = max(round(depth), 2)
    veil = Image.linear_gradient("L").resize((canvas.width, rows))
    mask = Image.new("L", canvas.image.size, 0)
    mask.paste(veil.point(lambda value: value * strength // 255), (0, round(level - depth)))
    canvas.wash(blend(canvas.mood.sky[1], canvas.mood.sky[2], 0.7), mask)


def hills(canvas: Canvas) -> float:
    """Draw five ridges behind one another; returns the height that figures stand on."""
    is_steep = canvas.mood.place == "mountain"
    layers = 5
    room = canvas.height - canvas.horizon
    for index in range(layers):
        nearness = index / (layers - 1)
        level = canvas.horizon + room * (0.82 * nearness**1.25)
        height = canvas.unit * ((0.26 if is_steep else 0.085) * (1 - 0.72 * nearness))
        if index:
            mist(canvas, level + height * 0.3, room * 0.3)
        shape = Silhouette(canvas)
        roughness = 1.0 if is_steep else 1.5
        shape.polygon(ridge(canvas, level, height, roughness, is_sharp=is_steep))
        canvas.wash(layer_colour(canvas, nearness), shape.mask())
        if is_steep and index < 2:
            _snow_caps(canvas, shape.mask())
    return canvas.horizon + room * 0.8


def swell(canvas: Canvas, horizon: int) -> None:
    """Lines of swell, closer towards the horizon, brightest below sun or moon."""
    random, mood = canvas.random, canvas.mood
    draw = ImageDraw.Draw(canvas.image, "RGBA")
    is_rough = mood.weather in {"storm", "rain"}
    lamp_x = canvas.lamp[0]
    crest = blend(mood.sky[2], mood.light, 0.6)
    for _ in range(420):
        depth = random.random() ** 1.7
        y = horizon + depth * (canvas.height - horizon)
        near_lamp = random.random() < 0.42
        spread = canvas.width * (0.03 + 0.1 * depth)
        x = random.gauss(lamp_x, spread) if near_lamp else random.uniform(0, canvas.width)
        half = canvas.unit * (0.006 + 0.05 * depth) * random.uniform(0.4, 1.4)
        thickness = canvas.unit * (0.0008 + (0.006 if is_rough else 0.0035) * depth)
        strength = random.randint(60, 150) if near_lamp else random.randint(14, 46)
        draw.ellipse((x - half, y - thickness, x + half, y + thickness), fill=(*crest, strength))


def _snow_caps(canvas: Canvas, mountain: Image.Image) -> None:
    drop = max(round(canvas.unit * 0.03), 1)
    rim = ImageChops.subtract(mountain, moved(mountain, (drop // 2, drop)))
    patches = canvas.noise(40, 30).point(lambda value: 200 if value > 110 else 40)
    light = blend(canvas.mood.sky[2], (255, 255, 255), 0.4)
    canvas.wash(light, ImageChops.multiply(rim, patches))
