"""The checks on a scene's frame: their names, what they mean, and what follows where one fails.

Belongs here: the one table that Dagster's catalogue, the documentation and the code share. Does not
belong here: coming to a verdict (`pipeline.checking`).
"""

from dataclasses import dataclass
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
MAX_WORDS_LENGTH = 1000
"""Characters of a verdict's sentence, as the database holds it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of check."""

    name: CheckName
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
        "error",
        blocks_promotion=True,
        asks_the_network=False,
        meaning="Every pixel of the stored picture could be decoded. What cannot be decoded never "
        "becomes a version.",
    ),
    Check(
        "size_as_requested",
        "warn",
        blocks_promotion=False,
        asks_the_network=False,
        meaning="The picture has the width and height that were asked for.",
    ),
    Check(
        "not_blank",
        "error",
        blocks_promotion=True,
        asks_the_network=False,
        meaning="The picture is not of a single colour, as a refused one often is. A blank version "
        "is kept, and never becomes the frame by itself.",
    ),
    Check(
        "not_a_duplicate_of_the_previous_version",
        "warn",
        blocks_promotion=False,
        asks_the_network=False,
        meaning="The picture can be told from the version before it, by perceptual hash.",
    ),
    Check(
        "url_serves_the_stored_bytes",
        "error",
        blocks_promotion=False,
        asks_the_network=True,
        meaning="The permanent URL answers, without a key, with exactly the stored bytes.",
    ),
    Check(
        "document_points_to_current",
        "error",
        blocks_promotion=False,
        asks_the_network=False,
        meaning="The scene's scene_start_frame in the master JSON is the current version's URL.",
    ),
    Check(
        "prompt_unchanged_since",
        "warn",
        blocks_promotion=True,
        asks_the_network=False,
        meaning="The document still says what the current version was made from. A frame whose "
        "prompt was edited while it was made is kept as a version, and not promoted.",
    ),
)
"""All checks, in the order in which they are shown."""


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
