"""The sheet everything is drawn on, and the masks that silhouettes are cut from.

Belongs here: pixels, coordinates, noise. Does not belong here: what is drawn.
"""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from scene_pipeline.providers.landscape.mood import Colour, Mood

Point = tuple[float, float]

_OVERSAMPLING = 2
"""Masks are drawn at twice the size and reduced, which smooths their edges."""

_RADIUS = 181
"""Value at which Pillow's radial gradient leaves the circle that fits into its square."""


@dataclass(slots=True)
class Canvas:
    """The picture in the making; coordinates are pixels, the origin is the upper left corner."""

    image: Image.Image
    mood: Mood
    random: Random
    horizon: float
    """Height of the horizon from the top."""
    lamp: Point
    """Where sun or moon stands."""

    @property
    def width(self) -> int:
        """Pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.image.height

    @property
    def unit(self) -> float:
        """The length that figures are measured in: the shorter side."""
        return float(min(self.image.size))

    def wash(self, colour: Colour, mask: Image.Image) -> None:
        """Lay a colour over the picture, as dense as the mask says."""
        self.image.paste(colour, (0, 0), mask)

    def glow(self, colour: Colour, centre: Point, radius: float, strength: float) -> None:
        """Lay a round glow over the picture; strength 0 to 1 in its middle."""
        side = max(round(radius * 2), 2)
        falloff = [
            round(strength * 255 * max(0.0, 1 - value / _RADIUS) ** 2.1) for value in range(256)
        ]
        spot = Image.radial_gradient("L").point(falloff).resize((side, side))
        corner = (round(centre[0] - side / 2), round(centre[1] - side / 2))
        self.image.paste(colour, corner, spot)

    def noise(self, columns: int, rows: int) -> Image.Image:
        """Soft greyscale noise of the picture's size, with about so many blots across and down."""
        columns, rows = max(columns, 2), max(rows, 2)
        dots = Image.frombytes("L", (columns, rows), self.random.randbytes(columns * rows))
        return dots.resize(self.image.size, Image.Resampling.BICUBIC)


class Silhouette:
    """A shape cut with smooth edges; coordinates as on the canvas."""

    def __init__(self, canvas: Canvas) -> None:
        size = (canvas.width * _OVERSAMPLING, canvas.height * _OVERSAMPLING)
        self._mask = Image.new("L", size, 0)
        self._draw = ImageDraw.Draw(self._mask)

    def polygon(self, points: list[Point], density: int = 255) -> None:
        """Fill a polygon; density 0 to 255."""
        self._draw.polygon([_scaled(point) for point in points], fill=density)

    def ellipse(self, centre: Point, across: float, down: float, density: int = 255) -> None:
        """Fill an ellipse with the given half axes."""
        x, y = centre
        box = [_scaled((x - across, y - down)), _scaled((x + across, y + down))]
        self._draw.ellipse(box, fill=density)

    def box(self, left: float, top: float, right: float, bottom: float, density: int = 255) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], density)

    def line(self, points: list[Point], thickness: float, density: int = 255) -> None:
        """Draw a line of at least one pixel of the oversampled mask."""
        width = max(round(thickness * _OVERSAMPLING), 1)
        scaled = [_scaled(point) for point in points]
        self._draw.line(scaled, fill=density, width=width, joint="curve")

    def mask(self) -> Image.Image:
        """The finished mask, of the canvas's size."""
        return self._mask.reduce(_OVERSAMPLING)


def moved(mask: Image.Image, by: tuple[int, int]) -> Image.Image:
    """A mask moved right and down.

    What it leaves uncovered keeps its values, so that the difference to the original is rims only.
    """
    shifted = mask.copy()
    shifted.paste(mask, by)
    return shifted


def _scaled(point: Point) -> Point:
    return point[0] * _OVERSAMPLING, point[1] * _OVERSAMPLING
