"""Reading a prompt: which place, hour, weather and figures it names, and the colours of the hour.

Belongs here: vocabulary and palettes, as data. Does not belong here: drawing.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

Choice = TypeVar("Choice", bound=str)
Colour = tuple[int, int, int]
Hour = Literal["night", "dawn", "day", "golden", "dusk"]
Weather = Literal["clear", "cloudy", "storm", "rain", "snow", "fog"]
Place = Literal["sea", "forest", "mountain", "city", "interior", "desert", "field"]

_HOURS: Mapping[Hour, str] = {
    "night": "night midnight moon moonlit moonlight stars starlit nocturnal lantern dark darkness",
    "dawn": "dawn sunrise daybreak morning early first",
    "golden": "golden sunset warm amber evening afternoon",
    "dusk": "dusk twilight blue violet nightfall",
    "day": "day noon midday daylight bright sunny overcast",
}
_WEATHERS: Mapping[Weather, str] = {
    "storm": "storm stormy thunder lightning tempest gale squall hurricane",
    "rain": "rain rainy drizzle downpour wet",
    "snow": "snow snowy blizzard winter frost frozen ice icy",
    "fog": "fog foggy mist misty haze hazy smoke",
    "cloudy": "cloud clouds cloudy overcast grey gray",
    "clear": "clear cloudless calm still",
}
_PLACES: Mapping[Place, str] = {
    "sea": "sea ocean coast shore harbour harbor bay wave waves tide cliff island beach lighthouse "
    "ship boat pier dock sail water lake river",
    "forest": "forest wood woods trees pine jungle grove woodland",
    "mountain": "mountain mountains peak summit ridge valley glacier canyon alpine",
    "city": "city street streets town skyline rooftop rooftops alley market building buildings "
    "neon station tower",
    "interior": "interior room kitchen inside indoors hall corridor cabin bedroom workshop library "
    "staircase stairs desk table attic cellar",
    "desert": "desert dune dunes sand mesa wasteland planet mars",
    "field": "field meadow grass plain prairie farm village hill hills road path garden",
}
_FIGURES: Mapping[str, str] = {
    "lighthouse": "lighthouse lighthouses beacon",
    "ship": "ship ships boat boats sail sails sailboat vessel ferry trawler trawlers schooner "
    "dinghy rowboat",
    "house": "house houses cottage cottages cabin farm barn hut home church",
    "person": "man woman girl boy keeper person figure child captain mother father daughter son "
    "stranger traveller traveler she he",
    "tree": "tree trees oak birch",
    "fire": "fire campfire bonfire flame flames torch",
    "birds": "bird birds gull gulls seagull seagulls crow crows raven",
}

_USUAL_WEATHERS: tuple[Weather, ...] = ("clear", "cloudy")
_USUAL_PLACES: tuple[Place, ...] = ("sea", "mountain", "field")

SKIES: Mapping[Hour, tuple[Colour, Colour, Colour]] = {
    "night": ((7, 11, 30), (20, 33, 66), (58, 76, 112)),
    "dawn": ((54, 66, 112), (188, 126, 138), (250, 206, 160)),
    "day": ((66, 118, 176), (142, 184, 214), (222, 232, 232)),
    "golden": ((58, 68, 108), (214, 128, 84), (255, 206, 122)),
    "dusk": ((22, 24, 60), (96, 66, 122), (228, 138, 124)),
}
"""Colours at the zenith, in the middle and at the horizon."""

GROUNDS: Mapping[Place, Colour] = {
    "sea": (14, 24, 34),
    "forest": (10, 24, 20),
    "mountain": (20, 26, 40),
    "city": (14, 15, 24),
    "interior": (34, 22, 16),
    "desert": (76, 40, 26),
    "field": (22, 28, 20),
}
"""Colour of the nearest ground; the farther, the more it takes on the horizon's."""


@dataclass(frozen=True, slots=True)
class Mood:
    """Everything the painter needs to know about a prompt."""

    place: Place
    hour: Hour
    weather: Weather
    figures: tuple[str, ...]
    sky: tuple[Colour, Colour, Colour]
    ground: Colour
    light: Colour
    """Colour of sun, moon, windows and fires."""


def read_mood(prompt: str, seed: int) -> Mood:
    """Choose by the words of the prompt, and by prompt and seed where it names nothing."""
    words = re.findall(r"[a-z]+", prompt.lower())
    random = seeded_random("mood", prompt, seed)
    hour = _most_named(_HOURS, words, random.choice(tuple(SKIES)))
    weather = _most_named(_WEATHERS, words, random.choice(_USUAL_WEATHERS))
    place = _most_named(_PLACES, words, random.choice(_USUAL_PLACES))
    spoken = set(words)
    figures = tuple(name for name, names in _FIGURES.items() if spoken & set(names.split()))
    overcast = {"storm": 0.55, "rain": 0.4, "snow": 0.25, "fog": 0.3, "cloudy": 0.15}
    dulled = overcast.get(weather, 0.0)
    grey: Colour = (150, 158, 170) if weather in {"snow", "fog"} else (58, 66, 80)
    if hour == "night":
        grey = (24, 30, 44)
    top, middle, low = (
        shifted(blend(colour, grey, dulled), random.randint(-10, 10)) for colour in SKIES[hour]
    )
    snowy: Colour = (96, 108, 128) if hour == "night" else (196, 206, 218)
    whiteness = (0.72 if hour == "night" else 0.45) if weather == "snow" else 0.0
    ground = blend(GROUNDS[place], snowy, whiteness)
    light: Colour = (226, 234, 255) if hour == "night" else (255, 226, 170)
    return Mood(place, hour, weather, figures, (top, middle, low), ground, light)


def seeded_random(purpose: str, prompt: str, seed: int) -> Random:
    """A generator for one purpose; the same in every process and on every machine."""
    digest = hashlib.sha256(f"{purpose}\0{seed}\0{prompt}".encode("utf-8", "replace")).digest()
    return Random(int.from_bytes(digest[:16], "big"))  # noqa: S311  # pictures, not secrets


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """The colour between two, `share` (0 to 1) of the way to the second."""
    red, green, blue = (
        round(one + (other - one) * share) for one, other in zip(first, second, strict=True)
    )
    return (red, green, blue)


def shifted(colour: Colour, amount: int) -> Colour:
    """A colour made warmer (positive) or cooler (negative) by some steps of 255."""
    red, green, blue = colour
    return (_byte(red + amount), _byte(green + amount // 3), _byte(blue - amount))


def _byte(value: int) -> int:
    return min(max(value, 0), 255)


def _most_named(vocabulary: Mapping[Choice, str], words: list[str], default: Choice) -> Choice:
    """The choice that most words name; of equals, the one named first."""
    counts: dict[Choice, tuple[int, int]] = {}
    for choice, names in vocabulary.items():
        known = set(names.split())
        hits = [index for index, word in enumerate(words) if word in known]
        if hits:
            counts[choice] = (len(hits), -hits[0])
    return max(counts, key=lambda choice: counts[choice], default=default)
