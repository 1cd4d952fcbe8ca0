"""What a reference picture does to a drawing: it lends it its mean colour, for all to see.

Belongs here: reading a colour off a picture and laying it over another. Does not belong here:
deciding which picture is a reference.
"""

import base64
import binascii
import io

from PIL import Image, UnidentifiedImageError

from scene_pipeline.providers.base import ReferencePicture
from scene_pipeline.providers.landscape.mood import Colour

_STRENGTH = 0.35


def tinted(picture: Image.Image, reference: ReferencePicture) -> Image.Image:
    """Lay the mean colour of a reference over a picture; the same for the same arguments.

    Args:
        picture: RGB.
        reference: Its bytes are read where its address holds them. This provider has no network:
            for any other address the digest stands for the picture.
    """
    veil = Image.new("RGB", picture.size, _mean_colour(reference))
    return Image.blend(picture, veil, _STRENGTH)


def _mean_colour(reference: ReferencePicture) -> Colour:
    head, comma, encoded = reference.url.partition(",")
    if head.startswith("data:") and head.endswith(";base64") and comma:
        try:
            seen = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
            pixel = seen.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        except (binascii.Error, UnidentifiedImageError, OSError):
            pass
        else:
            if isinstance(pixel, tuple):
                return (int(pixel[0]), int(pixel[1]), int(pixel[2]))
    red, green, blue = bytes.fromhex(reference.sha256)[:3]
    return (red, green, blue)
