"""Pictures for tests, good and hostile; plain functions, no server."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageDraw, PngImagePlugin


def draw_scene(seed: int = 1, size: tuple[int, int] = (320, 180)) -> Image.Image:
    """A gradient with discs: enough detail that formats differ in size."""
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for index in range(8):
        x, y = (seed * 53 + index * 97) % size[0], (seed * 31 + index * 61) % size[1]
        radius = 10 + (seed + index * 7) % 30
        colour = ((seed * 40 + index * 30) % 256, (index * 70) % 256, (seed * 90) % 256)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


def encode(picture: Image.Image, image_format: str, **options: Any) -> bytes:
    """The picture as a file."""
    target = io.BytesIO()
    picture.save(target, image_format, **options)
    return target.getvalue()


def scene_file(image_format: str, seed: int = 1, **options: Any) -> bytes:
    """A small picture as a file of one of the formats."""
    return encode(draw_scene(seed), image_format, **options)


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk with its right checksum."""
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def png_claiming(width: int, height: int, depth: int = 8, colour_type: int = 2) -> bytes:
    """A PNG whose header claims a size that its few pixels do not bear out."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + png_chunk(b"IEND", b"")
    )


def png_bomb() -> bytes:
    """400 megapixels of one bit each, honest and only some 50 kilobytes large."""
    side = 20_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + side // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


def animated(image_format: str) -> bytes:
    """Three frames: an animated PNG or WebP, or several pictures in one (MPO)."""
    first, *others = (draw_scene(seed, (64, 64)) for seed in (1, 2, 3))
    return encode(first, image_format, save_all=True, append_images=others)


PRIVATE_REMARK = "GPS 48.8584N 2.2945E of somebody's home"


def with_foreign_metadata(image_format: str) -> bytes:
    """A picture that says more than it shows, in every way its format knows."""
    exif = Image.Exif()
    exif[0x010E] = PRIVATE_REMARK
    exif.get_ifd(0x8825)[1] = "N"
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{PRIVATE_REMARK}</x:xmpmeta>".encode()
    if image_format == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("parameters", PRIVATE_REMARK)
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        texts.add_text("Comment", PRIVATE_REMARK, zip=True)
        return scene_file("PNG", pnginfo=texts, exif=exif)
    if image_format == "JPEG":
        return scene_file("JPEG", exif=exif, comment=PRIVATE_REMARK.encode(), xmp=xmp)
    return scene_file("WEBP", exif=exif, xmp=xmp)


def turned(image_format: str, orientation: int) -> bytes:
    """A picture of 320 x 180 that a camera held otherwise."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return scene_file(image_format, exif=exif)
