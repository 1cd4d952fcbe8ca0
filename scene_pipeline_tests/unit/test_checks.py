"""Verdicts in words, for every fact there is; and the page that lists the checks."""

import io
import re
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import shake_256
from pathlib import Path

import imagehash
import pytest
from PIL import Image, ImageEnhance, ImageOps

import scene_pipeline
from scene_pipeline.database.checked_frames import PictureRecord, RefusedPicture, SceneStanding
from scene_pipeline.media.perceptual import Likeness, likeness, perceptual_hash
from scene_pipeline.media.thumbnails import MAX_THUMBNAIL_BYTES, encode_within, reduce_to_rgb
from scene_pipeline.pipeline.checking.addresses import Answer
from scene_pipeline.pipeline.checking.verdicts import (
    address_verdict,
    duplicate_verdict,
    external_verdict,
    is_compared,
    picture_verdicts,
    standing_verdicts,
)
from scene_pipeline.pipeline.checks import CHECKS, MAX_WORDS_LENGTH, CheckVerdict
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.providers.landscape.painter import paint

PAGE = Path(scene_pipeline.__file__).parents[1] / "docs" / "checks.md"
REF = SceneRef("film", "scene 1")
PROJECT = uuid.UUID(int=1)
URL = "https://frames.example/projects/1/scene.png"
STANDING = SceneStanding(
    project_id=PROJECT,
    project_key="film",
    scene_id="scene 1",
    version=2,
    url=URL,
    document_url=URL,
    is_in_document=True,
    is_prompt_another=False,
    is_unplanned=False,
    stale_causes=None,
    is_chosen=False,
)
RECORD = PictureRecord(
    project_id=PROJECT,
    scene_id="scene 1",
    version=2,
    url=URL,
    storage_status="stored",
    sha256="a" * 64,
    size_bytes=1000,
    width=64,
    height=64,
    wanted_width=64,
    wanted_height=64,
    thumbnail=None,
    previous_version=1,
    previous_sha256="b" * 64,
    previous_thumbnail=None,
)


def told(verdicts: Sequence[CheckVerdict | None]) -> dict[str, bool]:
    return {verdict.name: verdict.passed for verdict in verdicts if verdict is not None}


def thumbnail(picture: Image.Image) -> bytes:
    return encode_within(reduce_to_rgb(picture), MAX_THUMBNAIL_BYTES)


def compressed(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    return Image.open(stream)


def recompressed(picture: Image.Image) -> Image.Image:
    return compressed(picture.resize((160, 90)))


def test_a_sound_frame_passes() -> None:
    passed = [
        *picture_verdicts(REF, RECORD, None),
        *standing_verdicts(STANDING),
        duplicate_verdict(REF, RECORD, Likeness(30, 40.0)),
        address_verdict(REF, 2, Answer("serves", "its URL serves the stored 1,000 bytes.")),
    ]

    assert told(passed) == {check.name: True for check in CHECKS}
    assert all(verdict and verdict.version == 2 for verdict in passed)


@pytest.mark.parametrize(
    ("is_blank", "failed", "other"),
    [(True, "not_blank", "image_decodes"), (False, "image_decodes", "not_blank")],
)
def test_a_refused_picture_fails_its_check_and_says_what_stands(
    is_blank: bool, failed: str, other: str
) -> None:
    refused = RefusedPicture(PROJECT, "scene 1", 2, is_blank, "truncated_image", "It ends early.")

    verdicts = {verdict.name: verdict for verdict in picture_verdicts(REF, RECORD, refused)}

    assert not verdicts[failed].passed  # type: ignore[index]  # the parameter is a plain string
    assert "Version 2 stands" in verdicts[failed].words  # type: ignore[index]
    assert "run film --regenerate --scene 'scene 1'" in verdicts[failed].words  # type: ignore[index]
    assert verdicts[other].passed  # type: ignore[index]


def test_a_scene_without_a_frame_is_told_only_what_was_refused() -> None:
    refused = RefusedPicture(PROJECT, "scene 1", None, False, "bomb", "It is too large.")

    [verdict] = picture_verdicts(REF, None, refused)

    assert (verdict.name, verdict.passed, verdict.version) == ("image_decodes", False, None)
    assert "The scene has no frame" in verdict.words
    assert picture_verdicts(REF, None, None) == []
    assert standing_verdicts(replace(STANDING, version=None, url=None)) == []


def test_another_size_is_a_warning() -> None:
    record = replace(RECORD, width=1024, height=576)

    verdicts = {verdict.name: verdict for verdict in picture_verdicts(REF, record, None)}

    size = verdicts["size_as_requested"]
    assert (size.passed, size.severity) == (False, "warn")
    assert "1024 x 576 pixels; 64 x 64 were asked for" in size.words


@pytest.mark.parametrize(
    ("document_url", "words"),
    [(None, "holds no start frame"), ("https://elsewhere.example/a.png", "something else")],
)
def test_a_document_that_points_elsewhere_is_an_error(document_url: str | None, words: str) -> None:
    document, prompt = standing_verdicts(replace(STANDING, document_url=document_url))

    assert (document.passed, document.severity) == (False, "error")
    assert words in document.words
    assert "scene-pipeline reconcile film --apply" in document.words
    assert prompt.passed


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({"stale_causes": ["prompt", "size"]}, False),
        ({"stale_causes": ["prompt"], "is_chosen": True}, True),
        ({"is_unplanned": True, "is_prompt_another": True}, False),
        ({"is_unplanned": True, "is_prompt_another": True, "is_chosen": True}, False),
        ({"is_unplanned": True, "stale_causes": ["prompt"]}, True),
    ],
    ids=["edited", "chosen", "not planned yet", "edited since it was chosen", "edited back"],
)
def test_an_edited_prompt_is_told_until_the_frame_fits_or_is_chosen(
    change: dict[str, object], passes: bool
) -> None:
    _, prompt = standing_verdicts(replace(STANDING, **change))  # type: ignore[arg-type]  # any field

    assert prompt.passed is passes
    assert passes or "Changed since version 2 was made: prompt" in prompt.words


@pytest.mark.parametrize(
    ("answer", "passed", "severity"),
    [
        (Answer("wrong", "its URL serves other bytes."), False, "error"),
        (Answer("unreachable", "its URL gave no answer: no connection."), False, "warn"),
    ],
)
def test_what_an_address_gives_decides_how_bad_it_is(
    answer: Answer, passed: bool, severity: str
) -> None:
    verdict = address_verdict(REF, 2, answer)

    assert verdict is not None
    assert (verdict.passed, verdict.severity) == (passed, severity)
    assert answer.words in verdict.words


def test_our_own_server_that_does_not_run_is_no_verdict() -> None:
    assert address_verdict(REF, 2, Answer("nobody", "it does not run.")) is None


def test_a_frame_at_its_provider_is_a_warning_with_the_way_home() -> None:
    verdict = external_verdict(REF, replace(RECORD, storage_status="external"))

    assert (verdict.passed, verdict.severity) == (False, "warn")
    assert "scene-pipeline heal film" in verdict.words


def test_the_same_bytes_are_a_duplicate_without_looking() -> None:
    verdict = duplicate_verdict(REF, replace(RECORD, previous_sha256=RECORD.sha256), None)

    assert verdict is not None
    assert not verdict.passed
    assert duplicate_verdict(REF, RECORD, None) is None, "what cannot be compared is not told"


@pytest.mark.parametrize("likeness", [Likeness(2, 0.5), Likeness(30, 9.0)], ids=["same", "other"])
def test_a_kept_verdict_counts_for_the_very_two_versions_that_it_compares(
    likeness: Likeness,
) -> None:
    verdict = duplicate_verdict(REF, RECORD, likeness)

    assert verdict is not None
    assert is_compared(RECORD, verdict.words)
    assert not is_compared(replace(RECORD, version=3), verdict.words)
    assert not is_compared(replace(RECORD, previous_version=12), verdict.words)
    assert not is_compared(replace(RECORD, previous_version=None), verdict.words)


def test_words_stay_within_what_the_database_holds() -> None:
    refused = RefusedPicture(PROJECT, "scene 1", 2, False, "bomb", "x" * 5000)

    assert all(
        len(verdict.words) <= MAX_WORDS_LENGTH for verdict in picture_verdicts(REF, RECORD, refused)
    )


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (recompressed, True),
        (lambda picture: paint("A lighthouse at dawn", 8, picture.size), False),
        (lambda picture: paint("A kitchen at night", 7, picture.size), False),
        (lambda picture: ImageEnhance.Color(picture).enhance(0.0), False),
    ],
    ids=["recompressed", "another seed", "another prompt", "without its colours"],
)
def test_only_the_same_picture_looks_the_same(
    change: Callable[[Image.Image], Image.Image], is_same: bool
) -> None:
    picture = paint("A lighthouse at dawn", 7, (320, 180))

    found = likeness(thumbnail(picture), thumbnail(change(picture)))

    assert found is not None
    assert found.is_same is is_same


def plain_pictures() -> list[Image.Image]:
    """Skies, a horizon, bars, and one colour: of few waves; most have exactly no strength."""
    upright = Image.linear_gradient("L").resize((320, 180))
    sky = ImageOps.colorize(upright, "midnightblue", "orange")
    bars = Image.new("RGB", (320, 180), "navy")
    horizon = bars.copy()
    for left in range(0, 320, 40):
        bars.paste("gold", (left, 0, left + 20, 180))
    horizon.paste("sienna", (0, 90, 320, 180))
    return [sky, sky.rotate(180), bars, Image.new("RGB", (320, 180), "teal"), horizon]


# But the horizon: of a single edge the library's hash is decided by what compression leaves.
@pytest.mark.parametrize("number", range(len(plain_pictures()) - 1))
def test_a_plain_picture_looks_the_same_when_it_is_compressed_again(number: int) -> None:
    picture = plain_pictures()[number]

    found = likeness(thumbnail(picture), thumbnail(compressed(picture)))

    assert found is not None
    assert found.is_same, found


def test_the_hash_has_the_bits_of_the_library_s_and_needs_no_scipy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = [
        paint(f"A lighthouse, view {seed}", seed, size)
        for seed, size in enumerate([(320, 180), (180, 320), (96, 96), (64, 40)] * 5)
    ]
    pictures += [
        Image.frombytes("RGB", (48, 48), shake_256(bytes([seed])).digest(48 * 48 * 3))
        for seed in range(20)
    ]
    pictures += plain_pictures()
    expected = [imagehash.phash(picture) for picture in pictures]

    monkeypatch.setitem(sys.modules, "scipy", None)

    assert [perceptual_hash(picture) for picture in pictures] == expected
    with pytest.raises(ModuleNotFoundError):
        imagehash.phash(pictures[0])


def test_what_is_no_picture_is_not_compared() -> None:
    picture = thumbnail(paint("A lighthouse at dawn", 7, (320, 180)))

    assert likeness(picture, b"not a JPEG") is None
    assert likeness(picture[:200], picture) is None


def test_the_page_lists_every_check_as_it_is() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \|", PAGE.read_text(), re.M
    )

    words = {"error": "error", "warn": "warning"}
    assert rows == [
        (
            check.name,
            check.asset,
            words[check.severity],
            "yes" if check.blocks_promotion else "no",
            "yes" if check.asks_the_network else "no",
        )
        for check in CHECKS
    ]


def test_a_scene_that_nothing_can_be_made_of_is_to_be_corrected_first() -> None:
    standing = replace(STANDING, is_unplanned=True, is_prompt_another=True, problem="It is empty.")

    [told] = [
        verdict
        for verdict in standing_verdicts(standing)
        if verdict.name == "prompt_unchanged_since"
    ]

    assert not told.passed
    assert told.words == "It is empty. Version 2 stands. Correct the scene in the document."
