"""Tiny files of every kind for tests, made by hand; plain functions, no server."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence

from scene_pipeline_tests.standins.pictures import scene_file

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><rect width="4"/></svg>'


# ---- MP4 and MOV


def box(kind: bytes, *content: bytes) -> bytes:
    """A box of an ISO media file."""
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    """The box that says what an ISO media file is."""
    return box(b"ftyp", major, bytes(4), *compatible)


def moov(*handlers: bytes) -> bytes:
    """An index with a track for each handler."""
    tracks = (
        box(b"trak", box(b"tkhd", bytes(84)), box(b"mdia", box(b"hdlr", bytes(8), each, bytes(13))))
        for each in handlers
    )
    return box(b"moov", box(b"mvhd", bytes(100)), *tracks)


def mp4(major: bytes = b"isom", handlers: Sequence[bytes] = (b"vide", b"soun")) -> bytes:
    """A film whose index comes last."""
    return ftyp(major, b"mp41") + box(b"mdat", b"\x11" * 400) + moov(*handlers)


def mov() -> bytes:
    """The same, of the other brand."""
    return ftyp(b"qt  ") + moov(b"vide") + box(b"wide") + box(b"mdat", b"\x11" * 400)


# ---- WebM and MKV


def element(kind: int, content: bytes, *, is_endless: bool = False) -> bytes:
    """An EBML element with a size of eight bytes."""
    size = b"\x01" + (b"\xff" * 7 if is_endless else len(content).to_bytes(7, "big"))
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + size + content


def matroska(
    doctype: bytes, track_types: bytes = b"\x01\x02", *, is_endless: bool = False
) -> bytes:
    """A film with tracks of some types: 1 is video, 2 is sound."""
    tracks = b"".join(element(0xAE, element(0x83, bytes((each,)))) for each in track_types)
    segment = (
        element(0xEC, bytes(20)) + element(0x1654AE6B, tracks) + element(0x1F43B675, b"\x22" * 300)
    )
    head = element(0x1A45DFA3, element(0x4286, b"\x01") + element(0x4282, doctype))
    return head + element(0x18538067, segment, is_endless=is_endless)


# ---- RIFF


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a RIFF file, padded."""
    return struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)


def riff(form: bytes, *chunks: bytes) -> bytes:
    """A RIFF file."""
    return chunk(b"RIFF", form + b"".join(chunks))


def avi() -> bytes:
    """A film with a header and something that stands for pictures."""
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", bytes(56)))
    return riff(b"AVI ", header, chunk(b"LIST", b"movi" + chunk(b"00dc", b"\x33" * 300)))


def wav(*, declared_size: int | None = None, channels: int = 1) -> bytes:
    """A hundredth of a second of silence."""
    sound = bytes(882)
    data = struct.pack("<4sI", b"data", len(sound) if declared_size is None else declared_size)
    return riff(
        b"WAVE",
        chunk(b"fmt ", struct.pack("<HHIIHH", 1, channels, 44100, 88200, 2, 16)),
        chunk(b"LIST", b"INFOodd"),
        data + sound,
    )


# ---- frames


def id3(content: bytes = b"TIT2 a title") -> bytes:
    """A tag of 512 bytes before the sound."""
    return b"ID3\x04\0\0" + bytes((0, 0, 4, 0)) + content.ljust(512, b"\0")


def mp3(frames: int = 8) -> bytes:
    """Frames of 128 kbit/s at 44.1 kHz, each of 417 bytes."""
    return (b"\xff\xfb\x90\x00" + b"\x44" * 413) * frames


def mp3_of_low_rate(frames: int = 8) -> bytes:
    """Frames of MPEG 2: 64 kbit/s at 22.05 kHz, each of 208 bytes."""
    return (b"\xff\xf3\x80\x00" + b"\x44" * 204) * frames


def aac(frames: int = 8, length: int = 100) -> bytes:
    """ADTS frames at 44.1 kHz."""
    header = bytes(
        (0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5, 0)
    )
    return (header + b"\x55" * (length - len(header))) * frames


# ---- Ogg


def ogg_page(packet: bytes, flags: int, *, serial: int = 7, checksum: int | None = None) -> bytes:
    """A page of one short packet, with its right checksum."""
    lacing = [255] * (len(packet) // 255) + [len(packet) % 255]
    head = struct.pack("<4sBBqII", b"OggS", 0, flags, 0, serial, 0)
    rest = bytes((len(lacing), *lacing)) + packet
    right = _ogg_checksum(head + bytes(4) + rest) if checksum is None else checksum
    return head + struct.pack("<I", right) + rest


def ogg(first_packet: bytes = b"OpusHead" + bytes(11), *more: bytes) -> bytes:
    """A stream of three pages, after the first pages of others where there are more."""
    firsts = b"".join(
        ogg_page(packet, 2, serial=number) for number, packet in enumerate((first_packet, *more))
    )
    return firsts + ogg_page(b"OpusTags" + bytes(20), 0) + ogg_page(b"\x66" * 600, 4)


def _ogg_checksum(page: bytes) -> int:
    """Bit by bit: slow, and unlike what is tested."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = value << 1 ^ 0x104C11DB7 if value & 0x80000000 else value << 1
    return value


# ---- documents


def pdf() -> bytes:
    """A document without pages."""
    return b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\nstartxref\n9\n%%EOF"


def compound(*names: str, below: Sequence[str] = (), shift: int = 9) -> bytes:
    """A compound file with streams of these names at the root, and some in a folder below it."""
    sector = 1 << shift
    header = struct.pack("<8s16xHHHHH", bytes.fromhex("d0cf11e0a1b11ae1"), 62, 3, 65534, shift, 6)
    header = header.ljust(44, b"\0") + struct.pack("<II", 1, 1)
    header = header.ljust(76, b"\0") + struct.pack("<I", 0)
    entries = ["Root Entry", *names, "Folder", *below]
    folder = 1 + len(names)
    directory = b""
    for number, name in enumerate(entries):
        child = 1 if number == 0 else folder + 1 if number == folder and below else 0xFFFFFFFF
        is_last = number in {0, folder, len(entries) - 1}
        right = 0xFFFFFFFF if is_last else number + 1
        raw = name.encode("utf-16-le")
        entry = raw.ljust(64, b"\0") + struct.pack(
            "<HBBIII", len(raw) + 2, 2, 1, 2**32 - 1, right, child
        )
        directory += entry.ljust(128, b"\0")
    directory_sectors = -(-len(directory) // sector)
    # sector 0 is the table: itself, then the chain of the directory
    chain = [*range(2, directory_sectors + 1), 0xFFFFFFFE]
    table = struct.pack(f"<{1 + len(chain)}I", 0xFFFFFFFD, *chain).ljust(sector, b"\xff")
    return (
        header.ljust(sector, b"\xff") + table + directory.ljust(directory_sectors * sector, b"\0")
    )


def doc() -> bytes:
    """What Word wrote before 2007."""
    return compound("1Table", "WordDocument", "Data")


DOCUMENT_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """A ZIP archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def docx(
    document_type: str = DOCUMENT_TYPE,
    *,
    more: Mapping[str, bytes | str] | None = None,
    padding: int = 0,
) -> bytes:
    """What Word writes today; `padding` spaces, which take no room, come before the type."""
    named = f'<Override PartName="/word/document.xml" ContentType="{document_type}"/>'
    types = f"<Types>{' ' * padding}{named}</Types>"
    return zipped({"[Content_Types].xml": types, "word/document.xml": "<w/>", **(more or {})})


MAKERS: dict[str, Callable[[], bytes]] = {
    "png": lambda: scene_file("PNG"),
    "jpg": lambda: scene_file("JPEG"),
    "webp": lambda: scene_file("WEBP"),
    "gif": lambda: scene_file("GIF"),
    "svg": lambda: SVG,
    "mp4": mp4,
    "mov": mov,
    "webm": lambda: matroska(b"webm"),
    "mkv": lambda: matroska(b"matroska"),
    "avi": avi,
    "mp3": mp3,
    "wav": wav,
    "ogg": ogg,
    "aac": aac,
    "pdf": pdf,
    "doc": doc,
    "docx": docx,
}
"""A whole file of every kind that is taken, by its extension."""
