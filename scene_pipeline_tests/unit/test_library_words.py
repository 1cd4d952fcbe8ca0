"""Names, tags and metadata that people give: made fit to be kept, or refused in one sentence."""

from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.naming import asset_name, checked_metadata
from scene_pipeline.pipeline.library.tagging import merged_tags, normalised_tags


@pytest.mark.parametrize(
    ("given", "path", "name"),
    [
        ("", "pictures/Hero.png", "Hero.png"),
        ("", "C:\\Users\\ada\\Hero.png", "Hero.png"),
        ("", "a\x1b[31m\nb.png", "a [31m b.png"),
        ("", "caf\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}.png", "caf\u00e9.png"),
        ("", "\udcff\udcfe", "unnamed"),
        ("", "x" * 400 + ".png", "x" * 300),
        ("  The  hero ", "a.png", "The hero"),
    ],
)
def test_a_name_is_words_on_one_line_and_never_a_path(given: str, path: str, name: str) -> None:
    assert asset_name(given, Path(path)) == name


@pytest.mark.parametrize("given", [" ", "\x00", "x" * 301])
def test_a_given_name_that_cannot_be_read_is_refused(given: str) -> None:
    with pytest.raises(UsageError) as refused:
        asset_name(given, Path("a.png"))
    assert refused.value.error_code == "name_invalid"


def test_tags_are_lower_case_without_spare_spaces_and_once_each() -> None:
    assert normalised_tags(["  Night   SHOT ", "night shot", "b"]) == ("night shot", "b")


@pytest.mark.parametrize("tag", ["", "  ", "x" * 65, "a\x00b", "a\udcffb"])
def test_a_tag_that_cannot_be_kept_is_refused(tag: str) -> None:
    with pytest.raises(UsageError) as refused:
        normalised_tags([tag])
    assert refused.value.error_code == "tag_invalid"


def test_an_asset_has_a_hundred_tags_at_most() -> None:
    hundred = [str(number) for number in range(100)]
    assert len(merged_tags(hundred, hundred)) == 100
    with pytest.raises(UsageError) as refused:
        merged_tags(hundred, ["one more"])
    assert refused.value.error_code == "too_many_tags"


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": float("nan")},
        {"a": object()},
        {"a": "nul \x00"},
        {"a": "half \ud800"},
        {"a": "x" * 70_000},
    ],
)
def test_metadata_that_the_database_could_not_hold_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        checked_metadata(metadata)
    assert refused.value.error_code == "metadata_invalid"


def test_metadata_is_kept_as_it_is() -> None:
    assert checked_metadata({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}
