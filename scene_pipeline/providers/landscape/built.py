"""Places that people built: a city and a room.

Belongs here: buildings and furniture. Does not belong here: nature (`terrain`, `ground`).
"""

from PIL import Image, ImageChops

from scene_pipeline.providers.landscape.canvas import Canvas, Point, Silhouette
from scene_pipeline.providers.landscape.ground import hills, layer_colour, mist, swell
from scene_pipeline.providers.landscape.mood import blend


def city(canvas: Canvas) -> float:
    """Draw three rows of buildings and a wet street; returns the height that figures stand on."""
    random = canvas.random
    ground = canvas.horizon + (canvas.height - canvas.horizon) * 0.72
    for index, nearness in enumerate((0.1, 0.4, 0.75)):
        shape, windows = Silhouette(canvas), Silhouette(canvas)
        x = -canvas.unit * 0.05
        while x < canvas.width:
            width = canvas.unit * random.uniform(0.05, 0.11) * (1 + nearness)
            tall = canvas.unit * random.uniform(0.12, 0.42) * (0.85 + 0.3 * nearness)
            top = ground - tall * (1.15 - 0.35 * nearness)
            shape.box(x, top, x + width, canvas.height)
            if random.random() < 0.3:
                shape.line([(x + width / 2, top), (x + width / 2, top - tall * 0.2)], 1.5)
            if index:
                _windows(canvas, windows, (x, top, x + width, ground))
            x += width * random.uniform(0.9, 1.25)
        canvas.wash(layer_colour(canvas, nearness), shape.mask())
        canvas.wash(blend(canvas.mood.light, (255, 190, 110), 0.6), windows.mask())
        mist(canvas, ground, canvas.unit * 0.22)
    street = Silhouette(canvas)
    street.box(0, ground, canvas.width, canvas.height)
    canvas.wash(layer_colour(canvas, 0.96), street.mask())
    swell(canvas, round(ground))
    return canvas.height - (canvas.height - ground) * 0.45


def _windows(canvas: Canvas, windows: Silhouette, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    lit_share = {"night": 0.4, "dusk": 0.34, "dawn": 0.14}.get(canvas.mood.hour, 0.08)
    step = canvas.unit * 0.017
    y = top + step
    while y < bottom - step:
        x = left + step * 0.7
        while x < right - step * 0.7:
            if canvas.random.random() < lit_share:
                density = canvas.random.randint(90, 235)
                windows.box(x, y, x + step * 0.4, y + step * 0.5, density)
            x += step
        y += step * 1.25


def interior(canvas: Canvas) -> float:
    """A dark room with a window on the world outside, and a pool of light on the floor."""
    width, height, unit = canvas.width, canvas.height, canvas.unit
    hills(canvas)
    frame_x = width * canvas.random.uniform(0.34, 0.56)
    half, top, sill = unit * 0.24, height * 0.15, height * 0.6
    wall = Silhouette(canvas)
    wall.box(0, 0, width, height)
    wall.box(frame_x - half, top, frame_x + half, sill, 0)
    bar = unit * 0.008
    for share in (-1 / 3, 1 / 3):
        x = frame_x + half * share
        wall.box(x - bar, top, x + bar, sill)
    wall.box(frame_x - half, (top + sill) / 2 - bar, frame_x + half, (top + sill) / 2 + bar)
    canvas.wash(canvas.mood.ground, wall.mask())
    _lamplight(canvas, wall.mask(), (frame_x, (top + sill) / 2), unit * 1.0)
    floor = height * 0.8
    ground = Silhouette(canvas)
    ground.box(0, floor, width, height)
    canvas.wash(blend(canvas.mood.ground, (0, 0, 0), 0.35), ground.mask())
    pool = Silhouette(canvas)
    pool.polygon(
        [
            (frame_x - half * 0.7, floor),
            (frame_x + half * 0.7, floor),
            (frame_x + half * 1.5, height),
            (frame_x - half * 1.1, height),
        ]
    )
    canvas.wash(canvas.mood.sky[2], pool.mask().point(lambda value: value * 70 // 255))
    _table(canvas, floor)
    return floor + (height - floor) * 0.35


def _lamplight(canvas: Canvas, wall: Image.Image, centre: Point, reach: float) -> None:
    side = round(reach * 2)
    falloff = [round(96 * max(0.0, 1 - value / 181) ** 1.6) for value in range(256)]
    spot = Image.new("L", canvas.image.size, 0)
    glow = Image.radial_gradient("L").point(falloff).resize((side, side))
    spot.paste(glow, (round(centre[0] - side / 2), round(centre[1] - side / 2)))
    colour = blend(canvas.mood.sky[2], canvas.mood.light, 0.5)
    canvas.wash(colour, ImageChops.multiply(spot, wall))


def _table(canvas: Canvas, floor: float) -> None:
    unit = canvas.unit
    x = canvas.width * canvas.random.choice((0.2, 0.8))
    shape = Silhouette(canvas)
    top = floor - unit * 0.16
    shape.box(x - unit * 0.2, top, x + unit * 0.2, top + unit * 0.022)
    for side in (-0.17, 0.15):
        shape.box(x + unit * side, top, x + unit * (side + 0.02), floor + unit * 0.05)
    shape.box(x - unit * 0.012, top - unit * 0.07, x + unit * 0.012, top)
    shape.polygon(
        [
            (x - unit * 0.03, top - unit * 0.125),
            (x + unit * 0.03, top - unit * 0.125),
            (x + unit * 0.05, top - unit * 0.06),
            (x - unit * 0.05, top - unit * 0.06),
        ]
    )
    canvas.wash(blend(canvas.mood.ground, (0, 0, 0), 0.6), shape.mask())
    shade = Silhouette(canvas)
    shade.polygon(
        [
            (x - unit * 0.028, top - unit * 0.12),
            (x + unit * 0.028, top - unit * 0.12),
            (x + unit * 0.046, top - unit * 0.064),
            (x - unit * 0.046, top - unit * 0.064),
        ]
    )
    canvas.wash((255, 206, 132), shade.mask())
