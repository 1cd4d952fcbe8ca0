"""The difference between two prompts: exact, short and readable."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.scenes.prompt_diff import (
    ELLIPSIS,
    MAX_COMPARED_WORDS,
    compare_prompts,
    diff_in_words,
    shortened,
)

WORDS = st.sampled_from(
    ["a", "red", "blue", "boat", ",", ".", "at", "\u8239", "\u7ea2", "caf\u00e9"]
)
SPACES = st.sampled_from(["", " ", "  ", "\n", "\t\u00a0"])
PROMPTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.tuples(SPACES, WORDS), max_size=25).map(
        lambda parts: "".join(space + word for space, word in parts)
    ),
)


@given(old=PROMPTS, new=PROMPTS)
def test_applying_a_difference_gives_both_texts_back(old: str, new: str) -> None:
    stretches = compare_prompts(old, new)

    assert "".join(s.text for s in stretches if s.kind != "added") == old
    assert "".join(s.text for s in stretches if s.kind != "removed") == new
    assert all(one.kind != next_.kind for one, next_ in pairwise(stretches))
    assert all(s.text for s in stretches)


@given(text=PROMPTS)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    assert {stretch.kind for stretch in compare_prompts(text, text)} <= {"same"}


@given(old=PROMPTS, new=PROMPTS)
def test_shortening_keeps_every_change_in_its_place(old: str, new: str) -> None:
    stretches = compare_prompts(old, new)

    cut = shortened(stretches)

    assert [s.kind for s in cut] == [s.kind for s in stretches]
    assert all(s.text == t.text or ELLIPSIS in s.text for s, t in zip(cut, stretches, strict=True))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("a red boat at dawn", "a blue boat at dawn", "a [-red-]{+blue+} boat at dawn"),
        ("a red boat", "a boat", "a [-red -]boat"),
        ("a boat", "a red boat", "a {+red +}boat"),
        ("a boat at dawn", "a boat", "a boat[- at dawn-]"),
        ("a boat at dawn", "a boat at dawn, rain", "a boat at dawn{+, rain+}"),
        ("the sea", "a red car", "[-the sea-]{+a red car+}"),
        (
            "\u7ea2\u8272\u7684\u8239",
            "\u84dd\u8272\u7684\u8239",
            "[-\u7ea2-]{+\u84dd+}\u8272\u7684\u8239",
        ),
        ("", "a boat", "{+a boat+}"),
        ("same", "same", "same"),
    ],
)
def test_a_difference_reads_as_people_would_write_it(old: str, new: str, words: str) -> None:
    assert diff_in_words(old, new) == words


def test_long_unchanged_stretches_are_shortened_to_the_words_around_a_change() -> None:
    start, end = "one two three four five six seven eight", "nine ten eleven twelve thirteen last"

    words = diff_in_words(f"{start} red {end}", f"{start} blue {end}")

    assert (
        words
        == f"{ELLIPSIS} five six seven eight [-red-]{{+blue+}} nine ten eleven twelve {ELLIPSIS}"
    )


def test_prompts_of_any_length_are_compared_in_bounded_time() -> None:
    began_at = time.process_time()
    old = "a b " * 50_000
    new = "b c a " * 50_000

    stretches = compare_prompts(old, new)
    compare_prompts("a b " * (MAX_COMPARED_WORDS // 2), "b a a " * (MAX_COMPARED_WORDS // 3))

    assert "".join(s.text for s in stretches if s.kind != "added") == old
    assert len(diff_in_words(old, new)) < 1000
    assert time.process_time() - began_at < 20
