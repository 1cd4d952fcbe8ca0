"""Every spelling of a frame's size."""

from typing import Any

import pytest

from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.sizes import ImageSize, parse_size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("square_hd", (1024, 1024)),
        ("square", (512, 512)),
        ("portrait_4_3", (768, 1024)),
        ("portrait_16_9", (576, 1024)),
        ("landscape_4_3", (1024, 768)),
        ("landscape_16_9", (1024, 576)),
        (" Landscape_16_9 ", (1024, 576)),
        ("1024x576", (1024, 576)),
        (" 1024 X 576 ", (1024, 576)),
        ("1024\u00d7576", (1024, 576)),
        ({"width": 640, "height": 360}, (640, 360)),
        ({"width": 640.0, "height": 360, "unit": "px"}, (640, 360)),
        ("16x16384", (16, 16_384)),
        ("10000x5000", (10_000, 5_000)),
    ],
)
def test_sizes_are_understood(value: Any, expected: tuple[int, int]) -> None:
    assert parse_size(value) == ImageSize(*expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is not an image size"),
        ("big", "is not an image size"),
        ("1024", "is not an image size"),
        ("1024x", "is not an image size"),
        ("-1024x576", "is not an image size"),
        ("1024x576x3", "is not an image size"),
        ("\u0661\u0662\u0663x576", "is not an image size"),
        ("9" * 5000 + "x1", "is not an image size"),
        ({}, "is not an image size"),
        ({"width": 640}, "is not an image size"),
        ({"width": "640", "height": 360}, "is not an image size"),
        ({"width": True, "height": 360}, "is not an image size"),
        ({"width": 640.5, "height": 360}, "is not an image size"),
        ({"width": float("inf"), "height": 360}, "is not an image size"),
        ("15x100", "16 to 16384"),
        ("100x16385", "16 to 16384"),
        ("0x0", "16 to 16384"),
        ({"width": -640, "height": 360}, "16 to 16384"),
        ("10000x5001", "50 megapixels"),
    ],
)
def test_what_is_no_size_is_told_with_what_would_be(value: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(value)
    assert caught.value.error_code == "image_size_invalid"
    assert words in caught.value.message
    assert "landscape_16_9" in caught.value.next_action
    assert len(caught.value.message) < 150


def test_the_text_of_a_size_can_be_read_again() -> None:
    size = ImageSize(1024, 576)
    assert str(size) == "1024x576"
    assert parse_size(str(size)) == size
