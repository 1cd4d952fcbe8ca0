"""What lies over everything: lightning, rain, snow, fog, vignette, grain.

Belongs here: the last passes. Does not belong here: anything with a place in the scene.
"""

from PIL import Image, ImageChops, ImageDraw, ImageOps

from scene_pipeline.providers.landscape.canvas import Canvas, Point
from scene_pipeline.providers.landscape.mood import blend

_GRAIN = 0.5


def draw_weather(canvas: Canvas) -> None:
    """Draw what falls or drifts between the scene and the eye."""
    weather = canvas.mood.weather
    if weather == "storm":
        _rain(canvas, 260)
    elif weather == "rain":
        _rain(canvas, 380)
    elif weather == "snow":
        _snow(canvas)
    elif weather == "fog":
        _fog(canvas)


def draw_lightning(canvas: Canvas) -> None:
    """Draw a bolt in a storm; before the ground, so that it strikes behind it."""
    if canvas.mood.weather != "storm":
        return
    random = canvas.random
    x, y = canvas.width * random.uniform(0.45, 0.9), canvas.height * 0.04
    points: list[Point] = [(x, y)]
    while y < canvas.horizon:
        x += canvas.unit * random.uniform(-0.045, 0.045)
        y += canvas.unit * random.uniform(0.02, 0.06)
        points.append((x, y))
    draw = ImageDraw.Draw(canvas.image, "RGBA")
    for thickness, strength in ((0.02, 22), (0.009, 60), (0.003, 235)):
        width = max(round(canvas.unit * thickness), 1)
        draw.line(points, fill=(224, 232, 255, strength), width=width, joint="curve")


def finish(canvas: Canvas) -> Image.Image:
    """Darken the corners and add film grain."""
    size = canvas.image.size
    corners = Image.radial_gradient("L").point(
        [255 - round(max(0, value - 96) * 0.62) for value in range(256)]
    )
    image = ImageChops.multiply(canvas.image, corners.resize(size).convert("RGB"))
    half = (max(size[0] // 2, 1), max(size[1] // 2, 1))
    grain = Image.frombytes("L", half, canvas.random.randbytes(half[0] * half[1]))
    grain = grain.resize(size, Image.Resampling.BILINEAR)
    toned = ImageOps.colorize(grain, (108, 108, 111), (148, 148, 145))
    return Image.blend(image, ImageChops.overlay(image, toned), _GRAIN)


def _rain(canvas: Canvas, drops: int) -> None:
    random = canvas.random
    draw = ImageDraw.Draw(canvas.image, "RGBA")
    for _ in range(drops):
        x, y = random.uniform(-0.1, 1.1) * canvas.width, random.uniform(-0.1, 1) * canvas.height
        length = canvas.unit * random.uniform(0.02, 0.07)
        fill = (206, 218, 232, random.randint(14, 54))
        draw.line([(x, y), (x - length * 0.28, y + length)], fill=fill, width=1)


def _snow(canvas: Canvas) -> None:
    random = canvas.random
    draw = ImageDraw.Draw(canvas.image, "RGBA")
    for _ in range(340):
        x, y = random.uniform(0, canvas.width), random.uniform(0, canvas.height)
        size = canvas.unit * 0.0055 * random.random() ** 2 + 0.6
        draw.ellipse(
            (x - size, y - size, x + size, y + size), fill=(250, 252, 255, random.randint(70, 220))
        )


def _fog(canvas: Canvas) -> None:
    drift = Image.blend(canvas.noise(4, 5), canvas.noise(9, 18), 0.4)
    mask = drift.point([round(min(max((value - 84) * 1.3, 0), 170)) for value in range(256)])
    canvas.wash(blend(canvas.mood.sky[1], canvas.mood.sky[2], 0.6), mask)
