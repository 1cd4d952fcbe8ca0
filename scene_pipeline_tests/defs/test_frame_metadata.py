"""What a materialization shows: two versions side by side, what changed, and never too much."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from dagster._serdes import serialize_value
from PIL import Image

from scene_pipeline.defs.frame_metadata import stage_materialization
from scene_pipeline.defs.markdown import MAX_PROMPT_BYTES, diff_markdown, prompt_markdown
from scene_pipeline.media.thumbnails import MAX_THUMBNAIL_BYTES, encode_within
from scene_pipeline.pipeline.orders import (
    Attempt,
    Change,
    FrameFacts,
    PreviousVersion,
    SceneRef,
    StageDone,
)

IN_PLACE = 1000
"""Characters of markdown that Dagster's UI shows without a click."""
MAX_EVENT_BYTES = 64 * 1024
"""The most that a materialization takes of the event log, as the bounds of its parts add up to; an
ordinary one takes a quarter. A run of 500 scenes writes a thousand."""
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def picture(*, is_noise: bool = False, colour: str = "teal") -> bytes:
    """A thumbnail as the pipeline makes them, at worst of nothing but noise."""
    image = Image.new("RGB", (320, 180), colour)
    if is_noise:
        image = Image.effect_noise((320, 180), 90).convert("RGB")
    thumbnail = encode_within(image, MAX_THUMBNAIL_BYTES)
    assert thumbnail is not None
    return thumbnail


def previous(**values: Any) -> PreviousVersion:
    return PreviousVersion(
        **{
            "version": 1,
            "url": "http://127.0.0.1/v1.jpg",
            "model": "some/model",
            "seed": 7,
            "prompt": "A red boat at dawn",
            "thumbnail": picture(colour="maroon"),
            **values,
        }
    )


def attempt(number: int = 1, **values: Any) -> Attempt:
    return Attempt(
        **{
            "generation_id": f"00000000-0000-4000-8000-{number:012}",
            "provider": "fal",
            "model": "some/model",
            "state": "published",
            "version": number,
            "code": None,
            "seconds": 2.5,
            "cost_usd": Decimal("0.003"),
            "cost_kind": "metered",
            "started_at": NOW,
            **values,
        }
    )


def frame(**values: Any) -> FrameFacts:
    return FrameFacts(
        **{
            "generation_id": "00000000-0000-4000-8000-000000000002",
            "version": 2,
            "is_current": True,
            "url": "http://127.0.0.1/v2.jpg",
            "storage_path": "projects/p/scenes/scene_1.jpg",
            "storage_status": "stored",
            "width": 1024,
            "height": 576,
            "size_bytes": 90_000,
            "content_type": "image/jpeg",
            "sha256": "0" * 64,
            "seed": 12,
            "provider": "fal",
            "model": "some/model",
            "prompt": "A blue boat at dawn",
            "cost_usd": Decimal("0.003"),
            "cost_kind": "metered",
            "generated_at": NOW,
            "thumbnail": picture(),
            **values,
        }
    )


def event(shown: FrameFacts) -> dg.AssetMaterialization:
    scene = SceneRef("film", "scene_1")
    return stage_materialization(StageDone(scene, "scene_image", {}, shown), "film/scene_1")


def values_of(shown: FrameFacts) -> dict[str, Any]:
    return {name: value.value for name, value in event(shown).metadata.items()}


def live_markup(markdown: str) -> str:
    """What is left of markdown once everything that is escaped is taken out."""
    return re.sub(r"\\.", "", markdown)


def test_both_pictures_are_shown_in_place_and_large_on_a_click() -> None:
    values = values_of(frame(previous=previous()))

    assert list(values)[2:5] == ["thumbnail", "previous_thumbnail", "compared"]
    for name in ("thumbnail", "previous_thumbnail"):
        assert values[name].startswith("![picture](data:image/webp;base64,")
        assert len(values[name]) < IN_PLACE
    assert values["thumbnail"] != values["previous_thumbnail"]
    head, rule, pictures = values["compared"].splitlines()
    assert (head, rule) == ("| version 1 | version 2 |", "| --- | --- |")
    assert pictures.count("data:image/webp;base64,") == 2
    assert "preview" not in values
    assert values["previous_version"] == 1


def test_a_first_version_has_nothing_beside_it() -> None:
    values = values_of(frame(version=1))

    assert values["preview"].startswith("![picture](data:image/jpeg;base64,")
    assert not {"compared", "previous_thumbnail", "previous_version", "prompt_diff", "changes"} & (
        values.keys()
    )


def test_a_version_whose_picture_was_removed_is_still_compared_in_words() -> None:
    values = values_of(frame(previous=previous(thumbnail=None, storage_status="removed")))

    assert "compared" not in values
    assert "previous_thumbnail" not in values
    assert "preview" in values
    assert values["prompt_diff"] == "A ~~red~~ **blue** boat at dawn"
    assert values["changes"] == "prompt (since version 1, whose picture was removed)"


def test_what_else_changed_is_said_in_words() -> None:
    changes = (Change("seed", "7", "12"), Change("model", "some/model", "other/model"))
    values = values_of(
        frame(prompt="A red boat at dawn", previous=previous(changes=changes)),
    )

    assert "prompt_diff" not in values
    assert values["changes"] == (
        "seed 7 \u2192 12; model some/model \u2192 other/model (since version 1)"
    )


def test_a_version_of_the_very_same_request_says_so() -> None:
    values = values_of(frame(previous=previous(prompt="A blue boat at dawn")))

    assert values["changes"] == "nothing that was asked for (since version 1)"


def test_numbers_stay_numbers_so_that_the_ui_plots_them() -> None:
    shown = event(
        frame(
            stage_seconds={"generation": 2.25, "storing": 0.5, "publishing": 0.125},
            attempts=(attempt(2), attempt(1)),
            attempts_total=2,
        )
    )

    floats = ("cost_usd", "generation_seconds", "storing_seconds", "publishing_seconds", "seconds")
    for name in floats:
        assert isinstance(shown.metadata[name], dg.FloatMetadataValue), name
    for name in ("size_bytes", "width", "height", "version", "seed", "attempts_total"):
        assert isinstance(shown.metadata[name], dg.IntMetadataValue), name
    assert shown.metadata["seconds"].value == 2.875
    assert shown.metadata["cost_kind"].value == "metered"


def test_the_attempts_are_a_table_that_says_why_and_for_how_much() -> None:
    failed = attempt(
        2, version=None, state="failed", code="content_rejected", seconds=None, cost_kind=None
    )
    shown = event(frame(attempts=(failed, attempt(1)), attempts_total=40))

    table = shown.metadata["attempts"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [column.name for column in table.schema.columns] == list(table.records[0].data)
    first, second = (record.data for record in table.records)
    assert (first["version"], first["state"], first["code"]) == ("", "failed", "content_rejected")
    assert (second["version"], second["seconds"], second["cost_usd"]) == ("1", "2.5", 0.003)
    assert second["when"] == "2026-11-20 09:30:00"
    assert shown.metadata["attempts_total"].value == 40


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("A red boat", "A blue boat", "A ~~red~~ **blue** boat"),
        ("A boat", "A boat (old), at dawn.", "A boat **\\(old\\), at dawn\\.**"),
        ("A boat\nat dawn", "A boat\n\nat dusk", "A boat at ~~dawn~~ **dusk**"),
        ("", "A boat", "**A boat**"),
        ("A boat", "", "~~A boat~~"),
    ],
)
def test_a_difference_is_marked_as_markdown_marks_it(before: str, after: str, shown: str) -> None:
    value = diff_markdown(before, after)

    # A mark touches what it marks and stands behind a space: otherwise it is shown as asterisks.
    assert value is not None
    assert value.value == shown


def test_equal_prompts_have_no_difference() -> None:
    assert diff_markdown("A boat", "A boat") is None


def test_prompts_that_differ_beyond_all_reason_say_where() -> None:
    value = diff_markdown("boat " * 10_000 + "red", "boat " * 10_000 + "blue")

    assert value is not None
    assert value.value == "Behind the first 20,000 characters."


FOREIGN = (
    "![x](https://t.invalid/p.png)",
    "<img src=x onerror=y>",
    "[a](javascript:x)",
    "https://t.invalid/p.png",
    "~~gone~~ **bold** `code` | cell |\n---|---",
    "A sea\n===\n    indented",
    "<!-- hidden -->",
    "Http://t.invalid www.t.invalid someone@t.invalid",
)


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_words_are_never_live_markdown(text: str) -> None:
    for value in (
        prompt_markdown(text),
        diff_markdown("A boat", f"A {text} boat"),
        diff_markdown(f"A {text} boat", "A boat"),
        diff_markdown(f"{text} and red", f"{text} and blue"),
    ):
        assert value is not None
        bare = live_markup(str(value.value)).replace("**", "").replace("~~", "")
        assert not re.search(r"[!\[\](){}<>`|:@#=/~*_]", bare)
        # The UI makes links of addresses whose signs are escaped, too.
        words = str(value.value).replace("\\", "")
        assert not re.search(r"https?://|www\.|@\w", words, re.IGNORECASE)
        assert not any(line.startswith(("    ", "\t")) for line in bare.splitlines())


@pytest.mark.parametrize(
    "letters",
    ["\U0001f6a2", "\\", "*~", "ab ", "\u8239", "[" * 50 + " "],
    ids=["emoji", "backslash", "marks", "words", "unspaced", "brackets"],
)
def test_an_event_is_bounded_whatever_it_shows(letters: str) -> None:
    def long(step: int) -> str:
        words = [letters * 3, "boat", "\u00e9t\u00e9", letters, "sea"]
        return " ".join(words[place * step % 7 % len(words)] for place in range(3_000))

    noise = picture(is_noise=True)
    names: Sequence[str] = ("provider", "model", "seed", "steps", "references", "size")
    shown = frame(
        thumbnail=noise,
        prompt=long(1),
        model="m" * 200,
        previous=previous(
            thumbnail=noise,
            prompt=long(2),
            changes=tuple(Change(name, long(3), long(4)) for name in names),
        ),
        stage_seconds={"generation": 1.0, "storing": 1.0, "publishing": 1.0},
        attempts=tuple(attempt(n, model="m" * 200, code="c" * 60) for n in range(20)),
        attempts_total=400,
    )

    written = event(shown)

    assert len(serialize_value(written)) <= MAX_EVENT_BYTES
    assert len(str(written.metadata["changes"].value)) < IN_PLACE
    assert "compared" in written.metadata


def test_a_long_prompt_of_ordinary_words_is_shown_whole() -> None:
    prompt = "A lighthouse keeper climbs the stairs, lamp in hand. " * 90

    assert not str(prompt_markdown(prompt).value).endswith("\u2026")


@pytest.mark.parametrize(
    "text", ["a" * 20_000, "\\" * 20_000, "www." * 9_000, "\U0001f6a2" * 9_000]
)
def test_a_prompt_that_is_cut_fills_its_room(text: str) -> None:
    written = json.dumps(prompt_markdown(text).value)

    assert written.endswith('\\u2026"')
    assert MAX_PROMPT_BYTES - 30 <= len(written) <= MAX_PROMPT_BYTES + 2
