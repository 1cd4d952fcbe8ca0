"""Our metadata block: goes in without touching a pixel, comes out as it went in."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scene_pipeline.errors import ImageError
from scene_pipeline.media.formats import IMAGE_FORMATS, ImageFormat, strip
from scene_pipeline.media.metadata import MAX_PACKET_BYTES, embed_metadata, read_metadata
from scene_pipeline_tests.standins.pictures import scene_file

FACTS = {
    "prompt": 'A "keeper" <climbs> & waits\r\nthe night 霧の灯台 🌊',
    "model": "fal-ai/flux/schnell",
    "seed": "123",
    "generation_id": "5a1d",
    "project": "lighthouse",
    "scene": "scene_1",
}


def clean_file(image_format: ImageFormat) -> bytes:
    return strip(scene_file(image_format), image_format).data


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_facts_come_out_as_they_went_in(image_format: ImageFormat) -> None:
    assert read_metadata(embed_metadata(clean_file(image_format), image_format, FACTS)) == FACTS


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_the_pixels_are_untouched_and_the_block_comes_off_again(image_format: ImageFormat) -> None:
    clean = clean_file(image_format)
    marked = embed_metadata(clean, image_format, FACTS)
    with Image.open(io.BytesIO(clean)) as before, Image.open(io.BytesIO(marked)) as after:
        assert before.tobytes() == after.tobytes()
    stripped = strip(marked, image_format)
    assert stripped.has_foreign_metadata
    assert read_metadata(stripped.data) == {}
    # a simple WebP keeps the header that announced the block; all else is as before
    if image_format != "WEBP":
        assert stripped.data == clean


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_equal_facts_make_equal_bytes_whatever_their_order(image_format: ImageFormat) -> None:
    clean = clean_file(image_format)
    backwards = dict(reversed(FACTS.items()))
    marked = embed_metadata(clean, image_format, FACTS)
    assert marked == embed_metadata(clean, image_format, backwards)
    other = embed_metadata(clean, image_format, {**FACTS, "seed": "124"})
    assert marked != other


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_other_programs_find_the_prompt_and_the_mark_of_synthetic_media(
    image_format: ImageFormat,
) -> None:
    marked = embed_metadata(clean_file(image_format), image_format, FACTS)
    with Image.open(io.BytesIO(marked)) as image:
        image.load()
        packet = image.info["xmp"] if "xmp" in image.info else image.info["XML:com.adobe.xmp"]
    text = packet if isinstance(packet, str) else packet.decode()
    assert "&lt;climbs&gt; &amp; waits" in text
    assert "digitalsourcetype/trainedAlgorithmicMedia" in text


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_a_file_without_our_block_has_no_facts(image_format: ImageFormat) -> None:
    assert read_metadata(scene_file(image_format)) == {}


def test_no_picture_has_no_facts_but_an_error() -> None:
    with pytest.raises(ImageError):
        read_metadata(b"{}")


@pytest.mark.parametrize("name", ["Prompt", "a b", "", "1a", "a" * 65])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="metadata name"):
        embed_metadata(clean_file("PNG"), "PNG", {name: "x"})


@pytest.mark.parametrize("filler", ["x", "&", "霧", "\x01"])
def test_a_prompt_of_any_length_fits_by_being_shortened(filler: str) -> None:
    facts = {"prompt": filler * 100_000, "seed": "7"}
    marked = embed_metadata(clean_file("JPEG"), "JPEG", facts)
    assert len(marked) - len(clean_file("JPEG")) <= MAX_PACKET_BYTES + 64
    found = read_metadata(marked)
    assert found["seed"] == "7"
    assert found["prompt"].endswith("…")
    assert len(found["prompt"]) > 5_000


@settings(max_examples=60)
@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), st.text(), max_size=6)
)
def test_any_text_survives_but_for_what_xml_cannot_hold(facts: dict[str, str]) -> None:
    for image_format in IMAGE_FORMATS:
        found = read_metadata(embed_metadata(CLEAN[image_format], image_format, facts))
        assert found.keys() == facts.keys()
        for name, text in facts.items():
            assert len(found[name]) == len(text)
            assert all(a in {b, "\ufffd"} for a, b in zip(found[name], text, strict=True))


CLEAN = {image_format: clean_file(image_format) for image_format in IMAGE_FORMATS}
