"""Which bytes are a picture that we accept: table I of the hostile inputs, in this process."""

import hashlib
import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from scene_pipeline.errors import ImageError
from scene_pipeline.media.formats import IMAGE_FORMATS, ImageFormat, strip
from scene_pipeline.media.inspection import InspectionOrder, inspect_image
from scene_pipeline.media.metadata import read_metadata
from scene_pipeline_tests.standins.pictures import (
    PRIVATE_REMARK,
    animated,
    draw_scene,
    encode,
    png_bomb,
    png_chunk,
    png_claiming,
    scene_file,
    turned,
    with_foreign_metadata,
)

ORDER = InspectionOrder()


def code_of(data: bytes, order: InspectionOrder = ORDER) -> str:
    with pytest.raises(ImageError) as caught:
        inspect_image(data, order)
    is_worth_another_try = caught.value.error_code == "truncated_image"
    assert caught.value.retryable == is_worth_another_try
    return caught.value.error_code


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_a_clean_picture_keeps_its_bytes(image_format: ImageFormat) -> None:
    data = scene_file(image_format)
    found = inspect_image(data, ORDER)
    assert found.data == data
    assert (found.image_format, found.width, found.height) == (image_format, 320, 180)
    assert (found.is_reencoded, found.is_blank, found.notes) == (False, False, ())


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}])
def test_jpeg_variants_keep_their_bytes(options: dict[str, Any]) -> None:
    data = scene_file("JPEG", **options)
    assert inspect_image(data, ORDER).data == data


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_png_mode_is_accepted_with_a_thumbnail(mode: str) -> None:
    source = draw_scene().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        source = source.convert("I").point(lambda level: level * 257).convert("I;16")
    found = inspect_image(encode(source, "PNG"), ORDER)
    with Image.open(io.BytesIO(found.thumbnail)) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert thumbnail.mode == "RGB"
    assert not found.is_blank


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_every_jpeg_mode_is_accepted(mode: str) -> None:
    assert not inspect_image(encode(draw_scene().convert(mode), "JPEG"), ORDER).is_blank


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
@pytest.mark.parametrize("percent", [5, 50, 99])
def test_a_cut_picture_is_refused_and_worth_another_try(
    image_format: ImageFormat, percent: int
) -> None:
    data = encode(draw_scene(size=(640, 360)), image_format)
    assert code_of(data[: len(data) * percent // 100]) == "truncated_image"


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_every_cut_of_a_small_picture_is_refused(image_format: ImageFormat) -> None:
    data = encode(draw_scene(size=(16, 16)), image_format)
    for length in range(len(data)):
        assert code_of(data[:length]) in {"truncated_image", "not_image"}, length


def test_a_png_that_lacks_only_its_last_checksum_is_refused() -> None:
    assert code_of(scene_file("PNG")[:-4]) == "truncated_image"


def test_a_wrong_checksum_over_right_pixels_is_refused() -> None:
    data = bytearray(scene_file("PNG"))
    data[-13] ^= 0x01  # within the checksum of the last IDAT, before the 12 bytes of IEND
    assert code_of(bytes(data)) == "truncated_image"


def test_a_flipped_byte_in_png_pixels_is_refused() -> None:
    data = bytearray(scene_file("PNG"))
    data[len(data) // 2] ^= 0xFF
    assert code_of(bytes(data)) == "truncated_image"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_image"),
        (b"\x89PNG\r\n\x1a\n", "not_image"),
        (b"\xff\xd8\xff", "not_image"),
        (b"RIFF\x04\x00\x00\x00WEBP", "not_image"),
        (b'{"detail": "expired"}', "not_image"),
        (b"\x00" * 100, "not_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "not_allowed"),
        (b"\xef\xbb\xbf  <!doctype html><html>", "not_allowed"),
        (b"<?xml version='1.0'?><Error/>", "not_allowed"),
        (b"%PDF-1.7", "not_allowed"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not_allowed"),
        (b"8BPS\x00\x01", "not_allowed"),
        (b"\x00\x00\x01\x00\x01\x00", "not_allowed"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "not_allowed"),
        (b"SIMPLE  =                    T", "not_allowed"),
        (b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", "not_allowed"),
        (png_claiming(0, 0), "not_image"),
        (png_claiming(2**31 - 1, 2**31 - 1), "bomb"),
        (png_claiming(20_000, 20_000), "bomb"),
        (png_claiming(100_000, 1), "bad_dimensions"),
        (png_claiming(16_385, 16), "bad_dimensions"),
        (png_claiming(1024, 1024), "truncated_image"),
    ],
)
def test_bytes_that_are_no_picture_of_ours_are_refused(data: bytes, code: str) -> None:
    assert code_of(data) == code


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF", "ICO", "JPEG2000", "AVIF"])
def test_real_pictures_of_other_formats_are_refused(image_format: str) -> None:
    assert code_of(scene_file(image_format)) == "not_allowed"


@pytest.mark.parametrize("size", [(1, 1), (15, 15), (15, 100), (100, 15)])
def test_tiny_pictures_are_refused(size: tuple[int, int]) -> None:
    assert code_of(encode(draw_scene(size=size), "PNG")) == "bad_dimensions"


def test_a_bomb_is_refused_before_a_pixel_is_decoded() -> None:
    data = png_bomb()
    assert len(data) < 100_000
    assert code_of(data) == "bomb"


def test_the_pixel_cap_is_exact() -> None:
    data = encode(draw_scene(size=(100, 100)), "PNG")
    assert code_of(data, InspectionOrder(max_pixels=9_999)) == "bomb"
    assert inspect_image(data, InspectionOrder(max_pixels=10_000)).width == 100


@pytest.mark.parametrize(
    ("image_format", "code"), [("PNG", "animated"), ("WEBP", "animated"), ("MPO", "not_allowed")]
)
def test_moving_and_multiple_pictures_are_refused(image_format: str, code: str) -> None:
    assert code_of(animated(image_format)) == code


def test_a_text_bomb_never_reaches_the_decoder() -> None:
    data = scene_file("PNG")
    packed = b"Comment\0\0" + zlib.compress(b"a" * 50_000_000, 9)
    assert inspect_image(data[:33] + png_chunk(b"zTXt", packed) + data[33:], ORDER).data == data


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
@pytest.mark.parametrize("tail", [b"<script>alert(1)</script>", b"\x00", b"x" * 10_000])
def test_what_follows_the_end_is_cut(image_format: ImageFormat, tail: bytes) -> None:
    data = scene_file(image_format)
    found = inspect_image(data + tail, ORDER)
    assert found.data == data
    assert found.notes == ("trailing_bytes_cut",)


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_foreign_metadata_is_gone_and_the_pixels_are_not(image_format: ImageFormat) -> None:
    data = with_foreign_metadata(image_format)
    assert b"home" in data
    found = inspect_image(data, ORDER)
    assert PRIVATE_REMARK.encode() not in found.data
    assert not found.is_reencoded
    assert found.notes == ("metadata_stripped",)
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(found.data)) as after:
        assert before.tobytes() == after.tobytes()
        assert not after.getexif()
        assert not {"comment", "xmp", "parameters", "exif"} & after.info.keys()
    if image_format == "WEBP":
        assert found.data[12:16] == b"VP8X"
        assert found.data[20] & 0x0C == 0, "VP8X still announces what was taken away"


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_the_colour_profile_stays(image_format: ImageFormat) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = inspect_image(scene_file(image_format, icc_profile=profile), ORDER)
    with Image.open(io.BytesIO(found.data)) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_orientation_is_applied_to_the_pixels(
    image_format: ImageFormat, orientation: int
) -> None:
    found = inspect_image(turned(image_format, orientation), ORDER)
    is_on_its_side = orientation >= 5
    assert (found.width, found.height) == ((180, 320) if is_on_its_side else (320, 180))
    assert found.is_reencoded
    assert found.notes == ("metadata_stripped", "orientation_applied")
    corner = {2: (319, 0), 3: (319, 179), 4: (0, 179), 5: (0, 0), 6: (179, 0), 7: (179, 319),
              8: (0, 319)}[orientation]  # fmt: skip
    with Image.open(io.BytesIO(found.data)) as after:
        shown, original = after.convert("RGB").getpixel(corner), draw_scene().getpixel((0, 0))
    assert isinstance(shown, tuple)
    assert isinstance(original, tuple)
    assert all(abs(a - b) < 24 for a, b in zip(shown, original, strict=True))


def test_broken_exif_turns_nothing() -> None:
    data = scene_file("JPEG")
    broken = b"\xff\xe1" + struct.pack(">H", 14) + b"Exif\0\0MM\0*\xff\xff"
    found = inspect_image(data[:2] + broken + data[2:], ORDER)
    assert found.data == data


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_the_stored_bytes_are_the_same_every_time(image_format: ImageFormat) -> None:
    order = InspectionOrder(metadata={"prompt": "a keeper", "seed": "1"}, embed=True)
    data = with_foreign_metadata(image_format)
    first = inspect_image(data, order).data
    assert (
        hashlib.sha256(first).digest() == hashlib.sha256(inspect_image(data, order).data).digest()
    )
    # a stored frame that is inspected again, when it is adopted or healed, stays what it is
    assert inspect_image(first, order).data == first
    assert read_metadata(first) == order.metadata
    assert read_metadata(inspect_image(data, ORDER).data) == {}


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 7)])
@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_a_single_colour_is_told(image_format: ImageFormat, colour: tuple[int, int, int]) -> None:
    picture = Image.new("RGB", (320, 180), colour)
    assert inspect_image(encode(picture, image_format), ORDER).is_blank


def test_faint_noise_is_blank_and_a_dark_scene_is_not() -> None:
    noise = Image.effect_noise((1280, 720), 1).point(lambda level: level - 120)
    assert inspect_image(encode(noise, "PNG"), ORDER).is_blank
    night = Image.new("RGB", (320, 180), (4, 4, 8))
    night.paste((60, 60, 40), (150, 40, 170, 60))
    assert not inspect_image(encode(night, "JPEG"), ORDER).is_blank


def test_a_fully_transparent_picture_is_blank() -> None:
    picture = draw_scene().convert("RGBA")
    picture.putalpha(0)
    assert inspect_image(encode(picture, "PNG"), ORDER).is_blank


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1600, 900), (320, 180)), ((600, 1200), (160, 320)), ((64, 64), (64, 64))],
)
def test_the_thumbnail_is_small_and_keeps_its_shape(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    noisy = Image.effect_noise(size, 120).convert("RGB")
    thumbnail = inspect_image(encode(noisy, "PNG"), ORDER).thumbnail
    assert len(thumbnail) <= 12 * 1024
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert abs(image.width / image.height - expected[0] / expected[1]) < 0.05
        assert max(image.size) <= max(expected)


def test_another_size_than_asked_for_is_noted() -> None:
    asked = InspectionOrder(expected_width=1024, expected_height=576)
    assert inspect_image(scene_file("PNG"), asked).notes == ("size_differs",)
    assert inspect_image(scene_file("PNG"), InspectionOrder(expected_width=320)).notes == ()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(IMAGE_FORMATS), st.data())
def test_damaged_files_are_refused_or_cleaned_and_never_crash(
    image_format: ImageFormat, data: st.DataObject
) -> None:
    damaged = bytearray(SMALL[image_format])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    try:
        found = inspect_image(bytes(damaged), ORDER)
    except ImageError:
        return
    again = strip(found.data, found.image_format)
    assert again.data == found.data
    assert not again.has_trailing_bytes
    assert not again.has_foreign_metadata


SMALL = {name: encode(draw_scene(size=(24, 24)), name) for name in IMAGE_FORMATS}
