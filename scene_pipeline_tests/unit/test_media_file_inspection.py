"""What the library takes of a recognised file: cleaned stills, whole animations, honest kinds."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from scene_pipeline.errors import FileRefusedError, ImageError
from scene_pipeline.media import animations
from scene_pipeline.media.derivation import derive_image
from scene_pipeline.media.file_inspection import (
    FileInspection,
    FileOrder,
    inspect_file,
    seed_fact,
    short_fact,
)
from scene_pipeline.media.file_types import FILE_TYPES
from scene_pipeline.media.inspection import InspectionOrder, inspect_image
from scene_pipeline.media.metadata import embed_metadata, metadata_edition, read_metadata
from scene_pipeline.scenes.identity import MediaType
from scene_pipeline_tests.standins import media_files as files
from scene_pipeline_tests.standins.pictures import (
    PRIVATE_REMARK,
    animated,
    draw_scene,
    encode,
    png_bomb,
    png_chunk,
    scene_file,
    turned,
    with_foreign_metadata,
)

FACTS = {
    "prompt": "a keeper 霧\r\n<&",
    "model": "fal-ai/flux/dev",
    "seed": "77",
    "generation_id": "g1",
}
MAX_PIXELS = 50_000_000
Inspect = Callable[..., FileInspection]


@pytest.fixture
def inspect(tmp_path: Path) -> Inspect:
    def run(
        data: bytes,
        media: MediaType = "image",
        *,
        allow_svg: bool = False,
        max_image_bytes: int = 10 * 2**20,
    ) -> FileInspection:
        path = tmp_path / "file"
        path.write_bytes(data)
        return inspect_file(path, FileOrder(media, allow_svg, max_image_bytes))

    return run


def refusal(inspect: Inspect, data: bytes, media: MediaType = "image", **options: object) -> str:
    with pytest.raises(FileRefusedError) as caught:
        inspect(data, media, **options)
    return caught.value.error_code


# ---- kinds


@pytest.mark.parametrize("extension", FILE_TYPES)
def test_every_kind_is_taken_as_what_it_is(inspect: Inspect, extension: str) -> None:
    data = files.MAKERS[extension]()
    media = FILE_TYPES[extension].media
    found = inspect(data, media, allow_svg=True)
    assert found.found.extension == extension
    assert found.size_bytes == len(data)
    assert found.data is None
    assert found.sha256 == (hashlib.sha256(data).hexdigest() if media == "image" else None)


@pytest.mark.parametrize("declared", ["image", "video", "audio", "document"])
@pytest.mark.parametrize("extension", ["png", "mp4", "mp3", "pdf"])
def test_a_file_of_another_kind_than_declared_is_refused_naming_both(
    inspect: Inspect, extension: str, declared: MediaType
) -> None:
    kind = FILE_TYPES[extension]
    if kind.media == declared:
        assert inspect(files.MAKERS[extension](), declared).found.media == declared
        return
    with pytest.raises(FileRefusedError) as caught:
        inspect(files.MAKERS[extension](), declared)
    assert caught.value.error_code == "kind_mismatch"
    assert all(word in caught.value.message for word in (kind.name, kind.media, declared))


def test_a_picture_beyond_the_limit_is_refused_and_other_files_are_not(inspect: Inspect) -> None:
    picture = scene_file("PNG")
    assert inspect(picture, max_image_bytes=len(picture)).size_bytes == len(picture)
    assert refusal(inspect, picture, max_image_bytes=len(picture) - 1) == "too_large"
    assert inspect(files.mp4(), "video", max_image_bytes=1).size_bytes == len(files.mp4())


# ---- stills


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_still_is_cleaned_of_foreign_remarks(inspect: Inspect, image_format: str) -> None:
    found = inspect(with_foreign_metadata(image_format))
    assert found.data is not None
    assert PRIVATE_REMARK.encode() not in found.data
    assert found.sha256 == hashlib.sha256(found.data).hexdigest()
    assert found.size_bytes == len(found.data)
    assert found.notes == ("metadata_stripped",)
    assert (found.width, found.height, found.is_animated) == (320, 180, False)
    assert found.thumbnail
    assert found.facts == {}


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_frame_of_ours_that_comes_back_keeps_its_bytes_and_its_prompt(
    inspect: Inspect, image_format: str
) -> None:
    frame = inspect_image(scene_file(image_format), InspectionOrder(metadata=FACTS, embed=True))
    found = inspect(frame.data)
    assert found.data is None
    assert found.sha256 == hashlib.sha256(frame.data).hexdigest()
    assert found.facts == FACTS
    assert found.notes == ()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_frame_of_an_earlier_version_keeps_its_bytes_too(
    inspect: Inspect, image_format: str
) -> None:
    order = InspectionOrder(metadata=FACTS, embed=True, edition=1)
    frame = inspect_image(scene_file(image_format), order)
    found = inspect(frame.data)
    assert found.data is None
    assert found.facts == FACTS


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_frame_that_comes_back_loses_our_block_where_that_is_switched_off(
    tmp_path: Path, image_format: str
) -> None:
    frame = inspect_image(scene_file(image_format), InspectionOrder(metadata=FACTS, embed=True))
    path = tmp_path / "file"
    path.write_bytes(frame.data)
    order = FileOrder("image", allow_svg=False, max_image_bytes=2**20, embed=False)
    found = inspect_file(path, order)
    assert found.data is not None
    assert FACTS["model"].encode() not in found.data
    assert b"Scene Pipeline" not in found.data
    assert found.facts == FACTS


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_frame_of_ours_that_was_added_to_keeps_its_prompt_only(
    inspect: Inspect, image_format: str
) -> None:
    frame = inspect_image(scene_file(image_format), InspectionOrder(metadata=FACTS, embed=True))
    found = inspect(frame.data + b"<script>alert(1)</script>")
    assert found.data == frame.data
    assert "trailing_bytes_cut" in found.notes
    assert read_metadata(found.data) == FACTS


def test_a_block_that_we_would_not_write_is_dropped(inspect: Inspect) -> None:
    forged = embed_metadata(scene_file("PNG"), "PNG", {"aaaaaa": "x"}).replace(b"aaaaaa", b"AA AA ")
    body = forged[41:]
    length = struct.unpack_from(">I", forged, 33)[0]
    checksum = struct.pack(">I", zlib.crc32(body[:length]))
    forged = forged[: 41 + length] + checksum + forged[45 + length :]
    assert read_metadata(forged) == {"AA AA ": "x"}
    found = inspect(forged)
    assert found.facts == {}
    assert found.data == scene_file("PNG")


def test_a_turned_still_is_put_upright(inspect: Inspect) -> None:
    found = inspect(turned("JPEG", 6))
    assert (found.width, found.height) == (180, 320)
    assert "orientation_applied" in found.notes


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (scene_file("JPEG")[:2000], "truncated_image"),
        (scene_file("WEBP")[:500], "truncated_image"),
        (png_bomb(), "bomb"),
        (encode(draw_scene(size=(15, 15)), "PNG"), "bad_dimensions"),
        (encode(draw_scene(size=(15, 15)), "GIF"), "bad_dimensions"),
        (scene_file("GIF")[:-1], "truncated_image"),
        (scene_file("GIF")[:400], "truncated_image"),
        (animated("PNG")[:-12], "truncated_image"),
        (animated("WEBP")[:-100], "truncated_image"),
        (b"GIF89a", "not_image"),
        (b"GIF89a" + struct.pack("<HHBBB", 100, 100, 0, 0, 0) + b";", "truncated_image"),
    ],
)
def test_a_broken_picture_is_refused_by_its_code(inspect: Inspect, data: bytes, code: str) -> None:
    assert refusal(inspect, data) == code


# ---- animations


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "GIF"])
def test_an_animation_is_kept_byte_for_byte(inspect: Inspect, image_format: str) -> None:
    data = animated(image_format)
    found = inspect(data)
    assert found.data is None
    assert found.is_animated
    assert (found.width, found.height) == (64, 64)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    with Image.open(io.BytesIO(found.thumbnail or b"")) as thumbnail:
        assert thumbnail.format == "JPEG"


def test_a_still_gif_is_kept_too_and_is_no_animation(inspect: Inspect) -> None:
    found = inspect(scene_file("GIF"))
    assert (found.data, found.is_animated) == (None, False)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "GIF"])
def test_what_follows_an_animation_is_cut(inspect: Inspect, image_format: str) -> None:
    data = animated(image_format)
    found = inspect(data + b"<html><script>alert(1)</script>")
    assert found.data == data
    assert found.notes == ("trailing_bytes_cut",)


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_a_damaged_later_frame_is_found(inspect: Inspect, image_format: str) -> None:
    data = bytearray(animated(image_format))
    if image_format == "PNG":
        place = data.rindex(b"fdAT")
        (length,) = struct.unpack_from(">I", data, place - 4)
        data[place - 4 : place + 8 + length] = png_chunk(b"fdAT", b"\0\0\0\5broken")
    else:
        place = data.rindex(b"\x2c\0\0\0\0")
        del data[place + 60 : len(data) - 2]
    assert refusal(inspect, bytes(data)) == "truncated_image"


def test_frames_and_pixels_of_an_animation_are_bounded(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = animated("GIF")
    monkeypatch.setattr(animations, "MAX_FRAMES", 2)
    assert refusal(inspect, data) == "bomb"
    monkeypatch.setattr(animations, "MAX_FRAMES", 3)
    assert inspect(data).is_animated
    monkeypatch.setattr(animations, "MAX_TOTAL_PIXELS", 3 * 64 * 64 - 1)
    assert refusal(inspect, data) == "bomb"


def test_a_frame_that_blows_the_picture_up_is_refused(inspect: Inspect) -> None:
    data = bytearray(animated("GIF"))
    place = data.rindex(b"\x2c\0\0\0\0")
    struct.pack_into("<HH", data, place + 1, 16_000, 16_000)
    assert refusal(inspect, bytes(data)) == "bomb"


# ---- SVG


def test_svg_is_taken_only_where_a_setting_says_so(inspect: Inspect) -> None:
    assert refusal(inspect, files.SVG) == "file_not_allowed"
    found = inspect(files.SVG, allow_svg=True)
    assert (found.data, found.thumbnail, found.width) == (None, None, None)
    assert found.sha256 == hashlib.sha256(files.SVG).hexdigest()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<!DOCTYPE svg><svg/>", "file_not_allowed"),
        (b'<!doctype svg [<!ENTITY a "aaaa">]><svg>&a;</svg>', "file_not_allowed"),
        (b"<svg><!-- <!ENTITY --></svg>", "file_not_allowed"),
        (b'<?xml version="1.0" encoding="utf-16"?><svg>\xff\xfe</svg>', "file_not_allowed"),
        (b"<svg xmlns='http://www.w3.org/1999/xhtml'/>", "file_not_allowed"),
        (b"<svg>" + b"<g>" * 300 + b"</g>" * 300 + b"</svg>", "file_not_allowed"),
        (b"<svg>&nbsp;</svg>", "truncated_file"),
        (b"<svg><g></svg>", "truncated_file"),
        (b"<svg/><svg/>", "truncated_file"),
        (b"<svg>", "truncated_file"),
        (b"<svg>" + b" " * (5 * 2**20) + b"</svg>", "too_large"),
    ],
)
def test_a_dangerous_or_broken_drawing_is_refused(inspect: Inspect, data: bytes, code: str) -> None:
    assert refusal(inspect, data, allow_svg=True) == code


def test_a_declared_encoding_does_not_hide_anything(inspect: Inspect) -> None:
    drawing = b'<?xml version="1.0" encoding="utf-7"?><svg>+ADw-x</svg>'
    assert inspect(drawing, allow_svg=True).found.is_svg


# ---- facts


@pytest.mark.parametrize(
    ("value", "seed"),
    [
        ("77", 77),
        ("0", 0),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("\uff19", None),
        ("9" * 19, None),
    ],
)
def test_only_a_number_that_a_row_can_hold_is_a_seed(value: str, seed: int | None) -> None:
    assert seed_fact({"seed": value}) == seed


def test_facts_that_cannot_be_ours_are_none() -> None:
    assert short_fact(FACTS, "model") == "fal-ai/flux/dev"
    for value in ("", "x" * 201, "two\nlines", "nul\0"):
        assert short_fact({"model": value}, "model") is None
    assert short_fact({}, "model") is None


# ---- derivatives


PICTURES = {
    "png": scene_file("PNG"),
    "jpg": scene_file("JPEG"),
    "webp": scene_file("WEBP"),
    "gif": scene_file("GIF"),
    "moving gif": animated("GIF"),
    "moving png": animated("PNG"),
    "moving webp": animated("WEBP"),
    "grey": encode(draw_scene().convert("L"), "PNG"),
    "16 bits": encode(Image.new("I;16", (64, 64), 40_000), "PNG"),
    "palette": encode(draw_scene().quantize(), "PNG"),
    "printing colours": encode(draw_scene().convert("CMYK"), "JPEG"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("form", ["thumbnail", "webp"])
def test_every_picture_has_derivatives_that_are_the_same_each_time(name: str, form: str) -> None:
    data = PICTURES[name]
    made = derive_image(data, form, MAX_PIXELS)  # type: ignore[arg-type]  # a table's
    assert made == derive_image(data, form, MAX_PIXELS)  # type: ignore[arg-type]  # a table's
    assert made.content_type == "image/webp"
    with Image.open(io.BytesIO(data)) as original, Image.open(io.BytesIO(made.data)) as picture:
        assert picture.format == "WEBP"
        assert getattr(picture, "n_frames", 1) == 1
        assert picture.size == (made.width, made.height) == original.size


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("form", ["thumbnail", "webp"])
@pytest.mark.parametrize("edition", [1, 2])
def test_other_forms_of_a_frame_say_how_it_was_made(
    image_format: str, form: str, edition: int
) -> None:
    order = InspectionOrder(metadata=FACTS, embed=True, edition=edition)  # type: ignore[arg-type]
    frame = inspect_image(turned(image_format, 6), order)
    made = derive_image(frame.data, form, MAX_PIXELS, embed=True)  # type: ignore[arg-type]
    bare = derive_image(frame.data, form, MAX_PIXELS)  # type: ignore[arg-type]  # a table's
    assert read_metadata(made.data) == FACTS
    assert metadata_edition(made.data) == 2
    assert (made.width, made.height) == (180, 320) == (bare.width, bare.height)
    assert read_metadata(bare.data) == {}
    assert b"Scene Pipeline" not in bare.data
    assert b"scene-pipeline" not in bare.data


@pytest.mark.parametrize("form", ["thumbnail", "webp"])
def test_other_forms_of_a_foreign_picture_get_nothing_of_ours(form: str) -> None:
    data = with_foreign_metadata("JPEG")
    made = derive_image(data, form, MAX_PIXELS, embed=True)  # type: ignore[arg-type]  # a table's
    assert made == derive_image(data, form, MAX_PIXELS)  # type: ignore[arg-type]  # a table's


def test_a_thumbnail_of_a_frame_with_a_long_prompt_is_small_too() -> None:
    noise = encode(Image.effect_noise((1600, 900), 90).convert("RGB"), "PNG")
    facts = {**FACTS, "prompt": "霧" * 20_000}
    frame = inspect_image(noise, InspectionOrder(metadata=facts, embed=True))
    made = derive_image(frame.data, "thumbnail", MAX_PIXELS, embed=True)
    assert len(made.data) <= 24 * 1024
    found = read_metadata(made.data)
    assert found["prompt"].endswith("…")
    assert found["model"] == FACTS["model"]


def test_a_thumbnail_is_small_in_every_way() -> None:
    noise = encode(Image.effect_noise((1600, 900), 90).convert("RGB"), "PNG")
    made = derive_image(noise, "thumbnail", MAX_PIXELS)
    assert max(made.width, made.height) <= 320
    assert len(made.data) <= 24 * 1024


def test_a_still_that_is_webp_already_is_not_made_again() -> None:
    data = scene_file("WEBP")
    assert derive_image(data, "webp", MAX_PIXELS).data is data


def test_transparency_and_colour_profile_live_on_in_full_size() -> None:
    picture = draw_scene()
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    made = derive_image(encode(picture, "PNG", icc_profile=b"profile"), "webp", MAX_PIXELS)
    with Image.open(io.BytesIO(made.data)) as webp:
        assert webp.mode == "RGBA"
        assert webp.info["icc_profile"] == b"profile"


def test_a_picture_wider_than_webp_can_be_is_made_to_fit() -> None:
    made = derive_image(encode(Image.new("RGB", (16_384, 32)), "PNG"), "webp", MAX_PIXELS)
    assert (made.width, made.height) == (16_383, 32)


@pytest.mark.parametrize(
    "data", [b"", files.SVG, files.pdf(), scene_file("JPEG")[:1500], png_bomb()]
)
def test_nothing_is_derived_from_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(ImageError):
        derive_image(data, "thumbnail", MAX_PIXELS)
