"""Overrides that other programs write by SQL are read strictly, and told in a sentence."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.overrides import RequestOverrides, read_overrides


def test_everything_that_can_be_asked_for_is_read() -> None:
    given_values: dict[str, Any] = {
        "provider": "fal",
        "model": "fal-ai/flux/dev",
        "image_size": "1024x576",
        "seed": 0,
        "seed_policy": "increment",
        "steps": 4,
        "candidates": 8,
        "references": ["https://example.com/a.png", "https://example.com/b.png"],
        "prompt": "A boat.",
        "prompt_suffix": "At night.",
    }
    assert read_overrides(given_values) == RequestOverrides(
        **{**given_values, "references": tuple(given_values["references"])}
    )
    assert set(given_values) == set(RequestOverrides.__dataclass_fields__)


def test_null_leaves_a_value_alone() -> None:
    assert read_overrides({"seed": None, "prompt": None}) == RequestOverrides()


def test_other_spellings_of_the_same_value_are_read() -> None:
    read = read_overrides({"seed": 7.0, "image_size": {"width": 64, "height": 32}})
    assert (read.seed, read.image_size) == (7, "64x32")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", -1, 'a whole number from 0 to 2147483647; it is "-1"'),
        ("seed", 2**31, "a whole number"),
        ("seed", True, "a whole number"),
        ("seed", "7", "a whole number"),
        ("seed", 7.5, "a whole number"),
        ("seed_policy", "same", "one of random, fixed, reuse, increment"),
        ("steps", 0, "1 to 200"),
        ("candidates", 0, "1 to 8"),
        ("candidates", 9, "1 to 8"),
        ("image_size", "huge", "a preset"),
        ("image_size", "8x8", "within bounds"),
        ("image_size", 64, "a preset"),
        ("provider", "Fal AI", "the name of a provider"),
        ("model", "", "a provider's name of a model"),
        ("model", "https://x.test/?a=b", "a provider's name of a model"),
        ("prompt", "  ", "a text of 1 to"),
        ("prompt", ["A boat."], "a text of 1 to"),
        ("prompt_suffix", "x" * 10_001, "a text of 1 to"),
        ("references", "https://example.com/a.png", "a list of 1 to"),
        ("references", [], "a list of 1 to"),
        ("references", [7], "a list of 1 to"),
        ("references", ["asset:1"], "https addresses"),
        ("references", ["http://example.com/a.png"], "https addresses"),
    ],
)
def test_a_value_that_is_none_of_its_names_is_told(name: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_overrides({name: value})
    assert caught.value.error_code == "overrides_invalid"
    assert caught.value.message.startswith(f'The override "{name}" must be ')
    assert words in caught.value.message
    assert len(caught.value.message) < 250


def test_a_misspelt_name_is_told_and_not_ignored() -> None:
    with pytest.raises(UsageError, match='no override "sed"') as caught:
        read_overrides({"sed": 7})
    assert "seed" in caught.value.next_action


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*RequestOverrides.__dataclass_fields__, "x"]), json_values))
def test_no_json_makes_the_reading_fail_otherwise(value: dict[str, Any]) -> None:
    with suppress(UsageError):
        read_overrides(value)
