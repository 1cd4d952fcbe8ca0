"""Puts a landscape together, from far to near.

Belongs here: the order of the passes and the composition. Does not belong here: the passes.
"""

from PIL import Image

from scene_pipeline.providers.landscape.backdrop import (
    draw_clouds,
    draw_lamp,
    draw_stars,
    sky_gradient,
)
from scene_pipeline.providers.landscape.canvas import Canvas
from scene_pipeline.providers.landscape.figures import draw_figures
from scene_pipeline.providers.landscape.finish import draw_lightning, draw_weather, finish
from scene_pipeline.providers.landscape.mood import read_mood, seeded_random
from scene_pipeline.providers.landscape.terrain import draw_terrain


def paint(prompt: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """Draw the landscape that a prompt suggests.

    Args:
        prompt: Any text; words of `mood`'s vocabulary choose what is drawn.
        seed: Varies composition and colours.
        size: Width and height in pixels.

    Returns:
        An RGB picture, the same for the same arguments in every process.
    """
    mood = read_mood(prompt, seed)
    random = seeded_random("composition", prompt, seed)
    width, height = size
    low = {"sea": 0.56, "city": 0.58, "forest": 0.5, "interior": 0.5}.get(mood.place, 0.5)
    horizon = height * (low + random.uniform(-0.05, 0.06))
    side = random.choice((random.uniform(0.2, 0.42), random.uniform(0.58, 0.82)))
    rise = {"night": 0.3, "day": 0.26, "dawn": 0.88, "golden": 0.84, "dusk": 0.92}[mood.hour]
    lamp = (width * side, horizon * (rise + random.uniform(-0.06, 0.06)))
    canvas = Canvas(sky_gradient(mood, size, horizon), mood, random, horizon, lamp)
    draw_stars(canvas)
    draw_lamp(canvas)
    draw_clouds(canvas)
    draw_lightning(canvas)
    level = draw_terrain(canvas)
    draw_figures(canvas, level)
    draw_weather(canvas)
    return finish(canvas)
