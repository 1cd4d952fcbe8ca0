"""The list of a project's fallbacks, and the failures after which it is asked."""

import re
from pathlib import Path
from typing import Any

import pytest

import scene_pipeline
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.planning.failures import ANOTHER_MAY_DO_BETTER, failure_words
from scene_pipeline.pipeline.projects.fallbacks import (
    MAX_FALLBACKS,
    Fallback,
    checked_fallbacks,
    made_by_fallback,
    parse_fallback,
    read_list,
)

DOCS = Path(scene_pipeline.__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fal:fal-ai/flux/dev", Fallback("fal", "fal-ai/flux/dev")),
        ("replicate:owner/name:0a1b", Fallback("replicate", "owner/name:0a1b")),
        ("pollinations:flux", Fallback("pollinations", "flux")),
    ],
)
def test_a_fallback_is_a_provider_and_its_model(text: str, expected: Fallback) -> None:
    assert parse_fallback(text) == expected


@pytest.mark.parametrize("text", ["", "fal", "fal:", ":m", "nobody:m", "fal:a b", "fal:\x1b[2J"])
def test_anything_else_is_refused_in_printable_words(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fallback(text)

    assert caught.value.error_code == "fallback_invalid"
    assert caught.value.message.isprintable()


def test_a_list_has_five_different_ones_at_most() -> None:
    many = [Fallback("fal", f"m{number}") for number in range(MAX_FALLBACKS + 1)]

    assert checked_fallbacks(many[:-1]) == tuple(many[:-1])
    for refused in (many, [many[0], many[0]]):
        with pytest.raises(UsageError):
            checked_fallbacks(refused)


@pytest.mark.parametrize("stored", [None, {}, "fal", 7])
def test_what_is_no_list_is_told(stored: Any) -> None:
    assert read_list(stored).entries == ()
    assert read_list(stored).problems


def test_entries_keep_their_places_and_those_that_cannot_be_used_are_told() -> None:
    good = {"provider": "offline", "model": "offline/landscape"}
    listed = read_list([{"provider": ["fal"], "model": "m"}, good, good, "offline", {}, good, 1])

    assert listed.entries == ((2, Fallback("offline", "offline/landscape")),)
    assert listed.length == MAX_FALLBACKS
    assert [problem.partition(":")[0] for problem in listed.problems] == [
        "fallback 1",
        "fallback 3",
        "fallback 4",
        "fallback 5",
        "there are 7, and 5 at most are used",
    ]


def test_words_survive_what_another_program_made_of_the_row() -> None:
    assert made_by_fallback({}, "offline", "m").endswith(": m at offline")


@pytest.mark.parametrize(
    "code",
    ["submit_ambiguous", "budget_exhausted", "price_unknown", "scene_changed", "result_lost",
     "generation_timeout", "request_invalid", "content_rejected", "provider_failed"],
)  # fmt: skip
def test_these_failures_are_no_reason(code: str) -> None:
    assert failure_words(code) is None


@pytest.mark.parametrize("code", ["fal_key_missing", "replicate_token_missing"])
def test_a_missing_key_is_a_reason(code: str) -> None:
    assert failure_words(code) == "has no key"


def test_the_page_on_providers_has_the_table() -> None:
    page = (DOCS / "providers.md").read_text("utf-8")
    table = page.partition("## Named fallbacks")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([a-z_]+)`", table, re.MULTILINE)

    assert told == list(ANOTHER_MAY_DO_BETTER)
