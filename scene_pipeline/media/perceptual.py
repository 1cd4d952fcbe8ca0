"""Whether two pictures look the same: by perceptual hash and by colour.

Belongs here: comparing two of our own thumbnails. Does not belong here: which pictures are compared
(`pipeline.checking`), decoding what others gave us (`media.inspection`).

imagehash's pHash of 8 x 8 bits, which sees shapes and no colours, and the mean difference of
colours on a grid of 8 x 8. Measured on thumbnails of 80 pictures of 1024 x 576 (40 landscapes of
the offline provider, 40 of discs; eight prompts, five seeds each):

| pair | pHash, bits of 64 | colours, levels of 255 |
|---|---|---|
| recompressed (JPEG 60 and 30, WebP 75, half the size), 320 pairs | 0 to 4 | 0.1 to 1.4 |
| warmer by 15 % | 0 to 6 | 3.4 to 18 |
| red and blue exchanged | 0 to 20 | 4.2 to 107 |
| same prompt, another seed, 160 pairs | 10 to 42 | |
| another prompt, 1,400 pairs | 14 to 48 | |

dHash of the same size leaves no gap: recompressed pairs reach 7 bits, other seeds begin at 4.

The hash has the bits of `imagehash.phash`, whose cosine transform comes from SciPy: to import that
takes a quarter of a second, more than all comparisons of a run of 100 scenes. Of 32 x 32
coefficients 64 are used, which are two small products of matrices.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from imagehash import ImageHash
    from numpy.typing import NDArray
    from PIL import Image

MAX_SAME_BITS = 6
"""pHash distance up to which shapes count as the same; midway between 4 and 10, and below it."""
MAX_SAME_LEVELS = 2.5
"""Mean difference of colours up to which they count as the same."""
_GRID = (8, 8)
_MAX_SIDE_PIXELS = 1024
_HASH_SIDE: Final = 8
_REDUCED_SIDE_PIXELS: Final = 32
_DECIMALS: Final = 6
"""Of a strength, which is up to 10^6: far from its noise, and from what tells pictures apart."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far two pictures are apart."""

    bits: int
    """Of 64, by which their perceptual hashes differ."""
    levels: float
    """Of 255, by which their colours differ in the mean."""

    @property
    def is_same(self) -> bool:
        """Whether people would take one for the other."""
        return self.bits <= MAX_SAME_BITS and self.levels <= MAX_SAME_LEVELS


def likeness(first: bytes, second: bytes) -> Likeness | None:
    """Compare two of our own thumbnails; about a millisecond of CPU.

    Args:
        first: A small JPEG, as `media.thumbnails` makes them.
        second: Another one.

    Returns:
        None where one of them cannot be read.
    """
    from PIL import Image, ImageChops, ImageStat  # noqa: PLC0415  # only where versions are compared

    pictures = []
    for data in (first, second):
        try:
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as source:
                if max(source.size) > _MAX_SIDE_PIXELS:
                    return None
                pictures.append(source.convert("RGB"))
        except (OSError, ValueError):
            return None
    one, other = pictures
    grids = [picture.resize(_GRID, Image.Resampling.BOX) for picture in pictures]
    difference = ImageStat.Stat(ImageChops.difference(*grids)).mean
    return Likeness(
        bits=int(perceptual_hash(one) - perceptual_hash(other)),
        levels=round(sum(difference) / len(difference), 2),
    )


def perceptual_hash(picture: "Image.Image") -> "ImageHash":
    """The pHash of 8 x 8 bits of a decoded picture, bit by bit that of `imagehash.phash`."""
    import imagehash  # noqa: PLC0415  # only where versions are compared: numpy
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    side = (_REDUCED_SIDE_PIXELS, _REDUCED_SIDE_PIXELS)
    reduced = picture.convert("L").resize(side, Image.Resampling.LANCZOS)
    waves = _waves()
    # Rounded: in a picture of bands or of one gradient most strengths are nothing, and what sums
    # leave in their place, 1e-13, would decide where the median lies, and with it half of the bits.
    strengths = np.round(waves @ np.asarray(reduced, dtype=np.float64) @ waves.T, _DECIMALS)
    return imagehash.ImageHash(strengths > np.median(strengths))


@lru_cache(1)
def _waves() -> "NDArray[np.float64]":
    """The longest waves of the cosine transform (DCT-II) of one side, one per row."""
    import numpy as np  # noqa: PLC0415

    places = 2 * np.arange(_REDUCED_SIDE_PIXELS) + 1
    halves = np.arange(_HASH_SIDE)[:, np.newaxis] * np.pi / (2 * _REDUCED_SIDE_PIXELS)
    return 2 * np.cos(halves * places)
