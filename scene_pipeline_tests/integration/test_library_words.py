"""Words of every script: kept as they are meant, and found however they are typed."""

from pathlib import Path

import pytest

from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.editing import edit_asset
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.libraries import Library

# What is in the library, and what somebody types.
NAMES = [
    ("ÉCOLE du port", "école"),
    ("école du port", "ÉCOLE"),
    ("Café", "cafe\u0301"),
    ("Привет мир", "ПРИВЕТ"),
    ("ПРИВЕТ МИР", "привет мир"),
    ("हिन्दी film", "हिन्दी"),
    ("日本語", "日本"),
    ("سلام دنیا", "سلام"),
    ("don't stop", "don't"),
    ("x:*&|!() \\ 'y", "x:*&|!() \\ 'y"),
]


@pytest.fixture
def library(studio: Studio, tmp_path: Path) -> Library:
    """An empty library."""
    return Library(studio, tmp_path / "files")


def test_names_are_found_in_every_script_and_case(library: Library) -> None:
    for number, (name, _) in enumerate(NAMES):
        library.add(library.file(), name=name, client_id=str(number))

    missed = [(name, typed) for name, typed in NAMES if name not in library.found(text=typed)]

    assert missed == []


def test_tags_and_prompts_are_found_in_every_script_and_case(library: Library) -> None:
    library.add(library.file(), tags=("Ночной порт",))
    library.studio.bring(film(["Паром в ПОРТУ"]))
    library.studio.run("scene_1")

    assert library.found(text="Порт") == ["scene_1 v1", "hero.png"]
    assert library.found(text="ночной ПОРТ") == ["hero.png"]
    assert library.found(text="паром порту") == ["scene_1 v1"]


def test_a_tag_is_the_same_however_its_accents_are_typed(library: Library) -> None:
    added = library.add(library.file(), tags=("cafe\u0301",))

    assert library.found(tags=("caf\u00e9",)) == ["hero.png"]
    assert library.connected(edit_asset, added.asset_id, remove=("Cafe\u0301",)).tags == ()


@pytest.mark.parametrize("place", ["client_id", "campaign_id", "user_id"])
@pytest.mark.parametrize("given", ["x" * 5000, "acme\u202e"])
def test_a_place_that_cannot_be_looked_for_is_refused(
    library: Library, place: str, given: str
) -> None:
    with pytest.raises(UsageError) as refused:
        library.add(library.file(), **{place: given})

    assert refused.value.error_code == "place_invalid"
