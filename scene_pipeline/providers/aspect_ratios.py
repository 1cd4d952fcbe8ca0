"""Sizes in the words of models that take no pixels.

Belongs here: finding the ratio that comes nearest. Does not belong here: which ratios a model
knows, which is each provider's data.
"""

from collections.abc import Sequence


def nearest_aspect_ratio(width: int, height: int, names: Sequence[str]) -> str:
    """The named ratio closest to a size, for models that take no size in pixels.

    Args:
        width: Pixels.
        height: Pixels.
        names: What the model knows, "16:9".
    """
    wanted = width / height

    def distance(name: str) -> float:
        across, down = name.split(":")
        ratio = int(across) / int(down)
        return max(ratio / wanted, wanted / ratio)

    return min(names, key=distance)
