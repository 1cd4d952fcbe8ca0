"""The checks on a scene's frame: their names, what they mean, and what follows where one fails.

Belongs here: the one table that Dagster's catalogue, the documentation and the code share. Does not
belong here: coming to a verdict (`pipeline.checking`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

CheckName = Literal[
    "image_decodes",
    "size_as_requested",
    "not_blank",
    "not_a_duplicate_of_the_previous_version",
    "url_serves_the_stored_bytes",
    "document_points_to_current",
    "prompt_unchanged_since",
]
CheckSeverity = Literal["error", "warn"]
CheckedAsset = Literal["scene_image", "scene_start_frame"]
MAX_WORDS_LENGTH = 1000
"""Characters of a verdict's sentence, as the database holds it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of check."""

    name: CheckName
    asset: CheckedAsset
    """What is checked: the picture, or what the document says of it."""
    severity: CheckSeverity
    """error: the frame must not be used as it is. warn: somebody should look."""
    blocks_promotion: bool
    """Whether a new version that fails it never becomes the scene's frame by itself."""
    asks_the_network: bool
    """Whether the verdict needs a request; the others are read from rows and stored pictures."""
    meaning: str
    """One sentence for the catalogue."""


CHECKS: tuple[Check, ...] = (
    Check(
        "image_decodes",
        "scene_image",
        "error",
        blocks_promotion=True,
        asks_the_network=False,
        meaning="Every pixel of the stored picture could be decoded. What cannot be decoded never "
        "becomes a version.",
    ),
    Check(
        "size_as_requested",
        "scene_image",
        "warn",
        blocks_promotion=False,
        asks_the_network=False,
        meaning="The picture has the width and height that were asked for.",
    ),
    Check(
        "not_blank",
        "scene_image",
        "error",
        blocks_promotion=True,
        asks_the_network=False,
        meaning="The picture is not of a single colour, as a refused one often is. A blank version "
        "is kept, and never becomes the frame by itself.",
    ),
    Check(
        "not_a_duplicate_of_the_previous_version",
        "scene_image",
        "warn",
        blocks_promotion=False,
        asks_the_network=False,
        meaning="The picture can be told from the version before it, by perceptual hash.",
    ),
    Check(
        "url_serves_the_stored_bytes",
        "scene_image",
        "error",
        blocks_promotion=False,
        asks_the_network=True,
        meaning="The permanent URL answers, without a key, with exactly the stored bytes.",
    ),
    Check(
        "document_points_to_current",
        "scene_start_frame",
        "error",
        blocks_promotion=False,
        asks_the_network=False,
        meaning="The scene's scene_start_frame in the master JSON is the current version's URL.",
    ),
    Check(
        "prompt_unchanged_since",
        "scene_start_frame",
        "warn",
        blocks_promotion=True,
        asks_the_network=False,
        meaning="The document still says what the current version was made from. A frame whose "
        "prompt was edited while it was made is kept as a version, and not promoted.",
    ),
)
"""All checks, in the order in which they are shown."""
CHECK_BY_NAME: Mapping[CheckName, Check] = MappingProxyType({check.name: check for check in CHECKS})


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """What a check found of one scene."""

    name: CheckName
    passed: bool
    severity: CheckSeverity
    words: str
    """One sentence with the facts, and the next action where it failed; at most 1000 characters."""
    version: int | None
    """The version that was looked at; None where the scene has no frame."""
