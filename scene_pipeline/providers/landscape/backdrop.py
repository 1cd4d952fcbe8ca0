"""What is behind everything: sky, stars, sun or moon, clouds.

Belongs here: the far light. Does not belong here: anything that stands on the ground.
"""

from PIL import Image, ImageChops, ImageDraw, ImageOps

from scene_pipeline.providers.landscape.canvas import Canvas, moved
from scene_pipeline.providers.landscape.mood import Colour, Mood, blend

_CLOUD_COVER = {"clear": 176, "cloudy": 138, "storm": 104, "rain": 112, "snow": 122, "fog": 150}
"""Noise value (0 to 255) above which there is cloud."""


def sky_gradient(mood: Mood, size: tuple[int, int], horizon: float) -> Image.Image:
    """A sky from the zenith's colour to the horizon's; below it, the horizon's."""
    width, height = size
    top, middle, low = mood.sky
    column = Image.new("RGB", (1, height))
    for y in range(height):
        share = min(y / max(horizon, 1.0), 1.0)
        if share < 0.6:
            colour = blend(top, middle, (share / 0.6) ** 1.15)
        else:
            colour = blend(middle, low, ((share - 0.6) / 0.4) ** 1.3)
        column.putpixel((0, y), colour)
    return column.resize((width, height), Image.Resampling.NEAREST)


def draw_stars(canvas: Canvas) -> None:
    """Scatter stars where the hour and the weather show them."""
    if canvas.mood.hour not in {"night", "dusk"} or canvas.mood.weather in {"storm", "rain", "fog"}:
        return
    draw = ImageDraw.Draw(canvas.image, "RGBA")
    random = canvas.random
    for _ in range(round(canvas.width * canvas.horizon / 2400)):
        x = random.uniform(0, canvas.width)
        y = canvas.horizon * random.random() ** 1.6
        brightness = round(230 * random.random() ** 2.2 * (1 - 0.7 * y / canvas.horizon))
        size = canvas.unit * random.choice((0.0008, 0.0008, 0.0012, 0.002))
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(240, 244, 255, brightness))


def draw_lamp(canvas: Canvas) -> None:
    """Draw sun or moon with its glow; behind thick weather only the glow is seen."""
    mood = canvas.mood
    is_veiled = mood.weather in {"storm", "rain", "snow", "fog"}
    reach = {"night": 0.5, "dawn": 0.85, "golden": 1.0, "dusk": 0.8, "day": 0.7}[mood.hour]
    canvas.glow(mood.light, canvas.lamp, reach * canvas.unit, 0.42 if is_veiled else 0.72)
    canvas.glow(mood.light, canvas.lamp, reach * canvas.unit * 0.34, 0.3 if is_veiled else 0.6)
    if is_veiled:
        return
    radius = canvas.unit * (0.036 if mood.hour == "night" else 0.05)
    x, y = canvas.lamp
    disc = Image.radial_gradient("L").point(lambda value: 255 if value < 118 else 0)
    disc = disc.resize((max(round(radius * 2.2), 2),) * 2, Image.Resampling.LANCZOS)
    corner = (round(x - disc.width / 2), round(y - disc.height / 2))
    canvas.image.paste(blend(mood.light, (255, 255, 255), 0.45), corner, disc)


def draw_clouds(canvas: Canvas) -> None:
    """Draw banks of cloud, thinner towards the zenith, lit from where sun or moon stands."""
    mood = canvas.mood
    cover = _CLOUD_COVER[mood.weather]
    across = max(round(5 * canvas.width / canvas.unit), 3)
    coarse = canvas.noise(across, 7)
    medium = canvas.noise(across * 3, 20)
    fine = canvas.noise(across * 9, 56)
    noise = Image.blend(Image.blend(coarse, medium, 0.36), fine, 0.16)
    density = noise.point([round(min(max((value - cover) * 3.4, 0), 215)) for value in range(256)])
    fading = ImageOps.invert(Image.linear_gradient("L")).resize((1, max(round(canvas.horizon), 2)))
    band = Image.new("L", (1, canvas.height), 0)
    band.paste(fading.point(lambda value: min(255, 70 + round(value * 0.75))), (0, 0))
    mask = ImageChops.multiply(density, band.resize(canvas.image.size))
    shade = _cloud_shade(mood)
    canvas.wash(shade, mask)
    lit = ImageChops.subtract(mask, moved(mask, (0, max(round(canvas.unit * 0.016), 1))))
    canvas.wash(blend(mood.sky[2], mood.light, 0.5), lit.point(lambda value: value * 2 // 3))


def _cloud_shade(mood: Mood) -> Colour:
    base = blend(mood.sky[0], mood.sky[1], 0.55)
    if mood.weather in {"storm", "rain"}:
        return blend(base, (16, 20, 30), 0.55)
    return blend(base, mood.sky[2], 0.3)
