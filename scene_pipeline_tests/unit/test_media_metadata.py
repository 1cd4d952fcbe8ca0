"""Our metadata block: goes in without touching a pixel, comes out as it went in."""

import hashlib
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from scene_pipeline.errors import ImageError
from scene_pipeline.media.containers.base import Blocks
from scene_pipeline.media.exif_block import build_exif, find_comment
from scene_pipeline.media.formats import CONTAINERS, IMAGE_FORMATS, ImageFormat, strip
from scene_pipeline.media.metadata import (
    MAX_BLOCK_BYTES,
    embed_metadata,
    metadata_edition,
    read_metadata,
)
from scene_pipeline.media.xmp_packet import build_packet
from scene_pipeline_tests.standins.pictures import draw_scene, encode, scene_file

FACTS = {
    "prompt": 'A "keeper" <climbs> & waits\r\nthe night 霧の灯台 🌊',
    "model": "fal-ai/flux/schnell",
    "seed": "123",
    "generation_id": "5a1d",
    "project": "lighthouse",
    "scene": "scene_1",
}

FIRST_EDITION_SHA256 = "868efafeded4357752d8083b3e6b3b0be4f7e7496d9452a98587676adf6b3274"


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
    assert embed_metadata(stripped.data, image_format, FACTS) == marked


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
    for name in ("sp:model", "sp:seed", "sp:generationId", "sp:project", "xmp:CreatorTool"):
        assert f"<{name}>" in text


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
    assert len(marked) - len(clean_file("JPEG")) <= 2 * MAX_BLOCK_BYTES + 128
    found = read_metadata(marked)
    assert found["seed"] == "7"
    assert found["prompt"].endswith("…")
    assert len(found["prompt"]) > 5_000
    # what was read back is written as it was
    assert embed_metadata(clean_file("JPEG"), "JPEG", found) == marked


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_a_frame_of_the_first_edition_reads_back_and_is_made_again(
    image_format: ImageFormat,
) -> None:
    clean = clean_file(image_format)
    old = embed_metadata(clean, image_format, FACTS, edition=1)
    assert read_metadata(old) == FACTS
    assert (metadata_edition(old), metadata_edition(clean)) == (1, 2)
    assert metadata_edition(embed_metadata(clean, image_format, FACTS)) == 2


def test_the_first_edition_is_what_it_was() -> None:
    """Frames of it are brought home by their digest: not one byte may change."""
    packet = build_packet({"prompt": 'A <"keeper"> & 霧\r\n', "seed": "7"}, 1)
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n')
    assert hashlib.sha256(packet).hexdigest() == FIRST_EDITION_SHA256


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_programs_that_know_no_xmp_find_the_facts_in_exif(image_format: ImageFormat) -> None:
    marked = embed_metadata(clean_file(image_format), image_format, FACTS)
    with Image.open(io.BytesIO(marked)) as image:
        exif = image.getexif()
        raw = exif[0x010E]
        assert exif[0x0131] == "Scene Pipeline"
        assert 0x0112 not in exif, "an orientation was written"
    assert raw.encode("latin-1").decode() == FACTS["prompt"] or raw == FACTS["prompt"]


def test_png_viewers_find_the_facts_in_its_texts() -> None:
    with Image.open(io.BytesIO(embed_metadata(clean_file("PNG"), "PNG", FACTS))) as image:
        assert isinstance(image, PngImagePlugin.PngImageFile)
        texts = image.text
    assert texts["Description"] == FACTS["prompt"]
    assert (texts["Model"], texts["Seed"]) == (FACTS["model"], FACTS["seed"])
    assert (texts["Project"], texts["Generation ID"]) == ("lighthouse", "5a1d")
    assert texts["Software"] == "Scene Pipeline"


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_colour_profile_and_transparency_stay(image_format: ImageFormat) -> None:
    picture = draw_scene()
    if image_format != "JPEG":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(picture, image_format, icc_profile=b"a profile of some kind", **options)
    marked = embed_metadata(strip(data, image_format).data, image_format, FACTS)
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(marked)) as after:
        assert after.info["icc_profile"] == b"a profile of some kind"
        assert (after.mode, after.tobytes()) == (before.mode, before.tobytes())


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_a_small_block_is_asked_for_and_given(image_format: ImageFormat) -> None:
    clean = clean_file(image_format)
    facts = {**FACTS, "prompt": "霧" * 9_000}
    marked = embed_metadata(clean, image_format, facts, max_block_bytes=3_000)
    assert len(marked) - len(clean) < 9_000
    found = read_metadata(marked)
    assert found.pop("prompt").endswith("…")
    assert found == {name: value for name, value in FACTS.items() if name != "prompt"}


def test_more_facts_than_fit_are_refused() -> None:
    facts = {f"fact_{number}": "abc" for number in range(9_000)}
    with pytest.raises(ValueError, match="too many"):
        embed_metadata(clean_file("PNG"), "PNG", facts)


@pytest.mark.parametrize(
    "packet",
    [
        b"<sp:generation>" * 60_000,
        b"<sp:generation>{" + b"[" * 200_000 + b"</sp:generation>",
        b"<sp:generation>" + b"x" * 2**21 + b"</sp:generation>",
        b"<sp:generation>[1, 2]</sp:generation>",
        b'<sp:generation>{"prompt": 5}</sp:generation>',
        b"<sp:generation>\xff\xfe</sp:generation>",
    ],
)
def test_a_hostile_packet_says_nothing_and_takes_no_time(packet: bytes) -> None:
    blocks = Blocks(xmp=packet)
    started = time.process_time()
    assert read_metadata(CONTAINERS["PNG"].insert_blocks(clean_file("PNG"), blocks)) == {}
    assert time.process_time() - started < 1


def test_a_file_of_nothing_but_fill_bytes_takes_no_time() -> None:
    marked = embed_metadata(clean_file("JPEG"), "JPEG", {"prompt": "A pier"})
    started = time.process_time()
    assert read_metadata(marked[:2] + b"\xff" * 20_000_000 + marked[2:]) == {"prompt": "A pier"}
    assert time.process_time() - started < 1


def test_no_entity_of_a_packet_is_followed() -> None:
    packet = (
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd"><!ENTITY b "&a;&a;&a;">]>'
        b'<sp:generation>{"prompt":"&b;&a;"}</sp:generation>'
    )
    marked = CONTAINERS["WEBP"].insert_blocks(clean_file("WEBP"), Blocks(xmp=packet))
    assert read_metadata(marked) == {"prompt": "&b;&a;"}


def test_characters_that_nobody_can_write_are_replaced_in_what_is_read() -> None:
    packet = rb'<sp:generation>{"prompt":"a \ud800 b\u0000","\udc00":"x"}</sp:generation>'
    marked = CONTAINERS["PNG"].insert_blocks(clean_file("PNG"), Blocks(xmp=packet))
    assert read_metadata(marked) == {"prompt": "a \ufffd b\ufffd", "\ufffd": "x"}


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_packet_that_another_program_wrote_anew_is_read(quote: str) -> None:
    value = "{&quot;prompt&quot;:&quot;a &amp;amp; &#39;b&#39;&quot;}"
    packet = f"<rdf:Description sp:generation={quote}{value}{quote}/>".encode()
    marked = CONTAINERS["JPEG"].insert_blocks(clean_file("JPEG"), Blocks(xmp=packet))
    assert read_metadata(marked) == {"prompt": "a &amp; 'b'"}


@pytest.mark.parametrize("comment", ["", "a remark", "{}", "[]", '{"scene_pipeline_frame": 3}'])
def test_a_remark_of_somebody_else_is_none_of_ours(comment: str) -> None:
    blocks = Blocks(exif=build_exif("a picture", "a camera", comment), texts={"Comment": comment})
    for image_format in IMAGE_FORMATS:
        marked = CONTAINERS[image_format].insert_blocks(clean_file(image_format), blocks)
        assert read_metadata(marked) == {}


@given(st.binary(max_size=400))
def test_any_exif_block_is_read_without_harm(data: bytes) -> None:
    for block in (data, b"II*\x00" + data, b"MM\x00*\x00\x00\x00\x08" + data):
        assert find_comment(block) is None or isinstance(find_comment(block), str)


@settings(max_examples=60)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_a_comment_in_exif_comes_out_as_it_went_in(text: str) -> None:
    comment = f"{{{text}}}"
    assert find_comment(build_exif("", "x", comment)) == comment


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
