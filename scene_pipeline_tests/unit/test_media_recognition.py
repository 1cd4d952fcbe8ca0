"""What a file is, by its content: every kind that is taken, and what only looks like one."""

import contextlib
import os
import struct
import tracemalloc
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from scene_pipeline.errors import FileRefusedError
from scene_pipeline.media.file_types import FILE_TYPES, extension_of, mime_types
from scene_pipeline.media.recognition import Recognised, recognise
from scene_pipeline_tests.standins import media_files as files
from scene_pipeline_tests.standins.pictures import scene_file

RecogniseBytes = Callable[..., Recognised]


@pytest.fixture
def recognise_bytes(tmp_path: Path) -> RecogniseBytes:
    def run(data: bytes, name: str = "file") -> Recognised:
        path = tmp_path / name
        path.write_bytes(data)
        return recognise(path)

    return run


def refusal(recognise_bytes: RecogniseBytes, data: bytes) -> FileRefusedError:
    with pytest.raises(FileRefusedError) as caught:
        recognise_bytes(data)
    assert caught.value.message.isprintable()
    return caught.value


def test_there_is_a_sample_of_every_kind() -> None:
    assert set(files.MAKERS) == set(FILE_TYPES)


@pytest.mark.parametrize("extension", FILE_TYPES)
def test_every_kind_is_recognised_whatever_its_name_says(
    recognise_bytes: RecogniseBytes, extension: str
) -> None:
    lying_name = "picture.png" if extension != "png" else "film.mp4"
    found = recognise_bytes(files.MAKERS[extension](), lying_name)
    kind = FILE_TYPES[extension]
    assert found == Recognised(kind.media, kind.mime_type, extension, extension == "svg")


@pytest.mark.parametrize(
    ("data", "extension"),
    [
        (files.mp4(b"mp42"), "mp4"),
        (files.mp4(b"dby1"), "mp4"),  # by a brand that it is compatible with
        (files.ftyp(b"iso5") + files.moov(b"vide") + files.box(b"moof"), "mp4"),
        (files.mp4() + bytes(4096), "mp4"),  # some cameras pad their files
        (
            files.ftyp(b"isom")
            + files.moov(b"vide")
            + struct.pack(">I4sQ", 1, b"mdat", 116)
            + bytes(100),
            "mp4",
        ),
        (files.ftyp(b"isom") + files.moov(b"vide") + bytes(4) + b"mdat" + bytes(100), "mp4"),
        (files.matroska(b"webm", b"\x02\x01"), "webm"),
        (files.matroska(b"webm", is_endless=True), "webm"),
        (files.wav(declared_size=0xFFFFFFFF), "wav"),
        (files.id3() + files.mp3(), "mp3"),
        (files.id3() + files.id3() + bytes(100) + files.mp3(), "mp3"),
        (files.mp3_of_low_rate(), "mp3"),
        (files.mp3(2), "mp3"),
        (files.id3() + files.aac(), "aac"),
        (files.ogg(b"\x01vorbis" + bytes(23)), "ogg"),
        (files.ogg(b"fishead\0" + bytes(56), b"\x7fFLAC" + bytes(46)), "ogg"),
        (files.compound("WordDocument", shift=12), "doc"),
        (files.compound(*(f"Stream{n}" for n in range(20)), "WordDocument"), "doc"),
        (b"\xef\xbb\xbf\n<!-- a < b -->\n<!DOCTYPE svg [<!ELEMENT a ANY>]><svg/>", "svg"),
        (b"<x:svg xmlns:x='http://www.w3.org/2000/svg'/>", "svg"),
    ],
)
def test_the_varieties_of_a_kind_are_recognised(
    recognise_bytes: RecogniseBytes, data: bytes, extension: str
) -> None:
    assert recognise_bytes(data).extension == extension


def test_a_file_that_the_standard_library_wrote_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(48000)
        sound.writeframes(bytes(4000))
    assert recognise(path).mime_type == "audio/wav"


# Where a cut cannot be seen: pictures and drawings are checked later, and completely; a frame more
# or less of sound is no harm.
CUT_SAFELY = {"png", "jpg", "webp", "gif", "svg", "mp3", "aac"}


@pytest.mark.parametrize("extension", sorted(set(FILE_TYPES) - CUT_SAFELY))
@pytest.mark.parametrize("share", [0.99, 0.5, 0.2])
def test_a_file_that_was_cut_is_refused(
    recognise_bytes: RecogniseBytes, extension: str, share: float
) -> None:
    whole = files.MAKERS[extension]()
    error = refusal(recognise_bytes, whole[: int(len(whole) * share)])
    assert error.error_code == "truncated_file"
    assert error.retryable


@pytest.mark.parametrize("extension", sorted(set(FILE_TYPES) - {"png", "jpg", "webp", "gif"}))
def test_no_cut_at_all_breaks_a_reader(recognise_bytes: RecogniseBytes, extension: str) -> None:
    whole = files.MAKERS[extension]()
    for length in {*range(0, min(len(whole), 130), 3), len(whole) // 3, len(whole) - 1}:
        with contextlib.suppress(FileRefusedError):
            recognise_bytes(whole[:length])


REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"", "empty"),
    (b"hello, this is text", "of no known kind"),
    (bytes(5000), "of no known kind"),
    (b"<!DOCTYPE html><html><svg></svg></html>", "an HTML page"),
    (b"  <html><body>", "an HTML page"),
    (b"<!-- x --><script>alert(1)</script>", "an HTML page"),
    (b"<rss><svg/></rss>", "XML or other markup"),
    (b"<!-- never closed <svg>", "XML or other markup"),
    ("<svg/>".encode("utf-16"), "UTF-16 text"),
    (b"MZ\x90\0" + bytes(100), "a Windows program"),
    (b"\x7fELF\x02" + bytes(100), "a Linux program"),
    (b"#!/bin/sh\nrm -rf /", "a script"),
    (b"\x1f\x8b\x08" + bytes(20), "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(20), "a 7z archive"),
    (b"Rar!\x1a\x07\0" + bytes(20), "a RAR archive"),
    (b"II*\0" + bytes(20), "TIFF"),
    (b"fLaC" + bytes(40), "FLAC"),
    (files.mp4(b"avif"), "an AVIF picture"),
    (files.mp4(b"heic"), "a HEIC picture"),
    (files.mp4(b"mif1"), "a HEIF picture"),
    (files.mp4(b"M4A "), "M4A audio"),
    (files.mp4(handlers=[b"soun"]), "M4A audio"),
    (files.mp4(handlers=[b"text"]), "an MP4 file without video"),
    (files.mp4(b"3gp5"), "3GP video"),
    (files.ftyp(b"what") + files.box(b"mdat"), "an MP4 file of an unknown brand"),
    (struct.pack(">I", 0x3C212D2D) + b"ftypisom" + bytes(50), "no MP4"),
    (files.matroska(b"webm", b"\x02"), "a Matroska file without video"),
    (files.matroska(b"other"), "an EBML file of an unknown type"),
    (files.riff(b"RMID", files.chunk(b"data", b"x")), "a RIFF file of an unknown form"),
    (files.riff(b"AVI ", files.chunk(b"junk", bytes(40))), "no AVI"),
    (files.id3() + b"no sound at all" * 20, "tagged audio"),
    (files.ogg(b"\x80theora" + bytes(30)), "Ogg video"),
    (files.ogg(b"OpusHead" + bytes(11), b"\x80theora" + bytes(30)), "Ogg video"),
    (files.ogg(b"what is this"), "an Ogg file without known sound"),
    (b"%PDF-9.x\n%%EOF", "a PDF file of an unknown version"),
    (files.compound("Workbook"), "an Excel workbook"),
    (files.compound("Workbook", below=["WordDocument"]), "an Excel workbook"),
    (files.compound("__properties_version1.0"), "an Outlook message"),
    (files.compound("anything"), "a compound file other than DOC"),
    (files.zipped({"a.txt": "x"}), "a ZIP archive"),
    (files.zipped({"[Content_Types].xml": "", "xl/workbook.xml": ""}), "an Excel workbook"),
    (files.zipped({"META-INF/MANIFEST.MF": ""}), "a Java program"),
    (files.docx(more={"word/vbaProject.bin": "x"}), "a Word document with macros"),
    (
        files.docx("application/vnd.ms-word.template.macroEnabled.main+xml"),
        "another kind than DOCX",
    ),
    (b"PK\x03\x04 something else\n" + files.docx(), "with something else before it"),
)


@pytest.mark.parametrize(("data", "name"), REFUSED, ids=[name for _, name in REFUSED])
def test_what_is_not_taken_is_refused_by_its_name(
    recognise_bytes: RecogniseBytes, data: bytes, name: str
) -> None:
    error = refusal(recognise_bytes, data)
    assert error.error_code == "file_not_allowed"
    assert name in error.message
    assert not error.retryable


@pytest.mark.parametrize("extension", sorted(set(FILE_TYPES) - {"docx", "svg"}))
def test_a_file_with_an_archive_behind_it_is_refused(
    recognise_bytes: RecogniseBytes, extension: str
) -> None:
    archive = files.zipped({"META-INF/MANIFEST.MF": "Main-Class: X", "X.class": b"\xca\xfe"})
    data = files.MAKERS[extension]() + archive
    error = refusal(recognise_bytes, data)
    assert error.error_code in {"file_not_allowed", "truncated_file"}


def test_a_picture_with_an_archive_behind_it_is_told_as_such(
    recognise_bytes: RecogniseBytes,
) -> None:
    error = refusal(recognise_bytes, scene_file("JPEG") + files.docx())
    assert error.message == "The file is JPEG with a ZIP archive behind it; that is not taken."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (files.ftyp(b"isom") + files.box(b"mdat", bytes(50)), "its index is missing"),
        (files.ftyp(b"isom") + files.moov(b"vide"), "its media are missing"),
        (files.ftyp(b"isom") + b"\0\0\0\x04moov", "does not begin where it should"),
        (files.wav(declared_size=5000), "its end is missing"),
        (files.wav(channels=0), "its format is impossible"),
        (files.riff(b"WAVE", files.chunk(b"data", bytes(8))), "its format is missing"),
        (files.ogg_page(b"OpusHead", 2, checksum=5), "a page's checksum is wrong"),
        (files.ogg() + b"OggS\0", "its last page is cut"),
        (files.mp3(1) + bytes(2000), "its frames do not follow each other"),
        (files.mp3(2) + files.mp3_of_low_rate(2), "its frames do not follow each other"),
        (files.mp3(1)[:200], "it ends within a frame"),
        (files.id3()[:100], "it ends within its tag"),
        (files.id3(), "its sound is missing"),
    ],
)
def test_damage_is_told(recognise_bytes: RecogniseBytes, data: bytes, reason: str) -> None:
    error = refusal(recognise_bytes, data)
    assert error.error_code == "truncated_file"
    assert reason in error.message


def test_a_directory_that_goes_in_a_circle_is_left(recognise_bytes: RecogniseBytes) -> None:
    circle = bytearray(files.doc())
    struct.pack_into("<I", circle, 512 + 4, 1)  # the directory's sector follows itself
    assert "too many parts" in refusal(recognise_bytes, bytes(circle)).message


def test_a_zip_bomb_is_not_unpacked(recognise_bytes: RecogniseBytes) -> None:
    bomb = files.docx(padding=20 * 2**20)
    tracemalloc.start()
    try:
        assert "another kind than DOCX" in refusal(recognise_bytes, bomb).message
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_file_of_endlessly_many_parts_is_left(
    recognise_bytes: RecogniseBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scene_pipeline.media.file_kinds.base._MAX_READS", 1000)
    error = refusal(recognise_bytes, files.ftyp(b"isom") + files.box(b"free") * 2000)
    assert "too many parts" in error.message


def test_a_large_film_is_recognised_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "film"
    with path.open("wb") as film:
        film.write(files.ftyp(b"isom") + files.moov(b"vide"))
        film.write(struct.pack(">I4sQ", 1, b"mdat", 16 + 2**32))
        film.truncate(film.tell() + 2**32)  # sparse: four GiB that take no room
    assert recognise(path).extension == "mp4"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        with pytest.raises(FileRefusedError) as caught:
            recognise(tmp_path / name)
        assert caught.value.error_code == "file_unreadable"


def test_types_are_listed_for_those_who_ask_for_files() -> None:
    assert mime_types("image") == ("image/png", "image/jpeg", "image/webp", "image/gif")
    assert "image/svg+xml" in mime_types("image", allow_svg=True)
    assert extension_of("video/quicktime") == "mov"
    assert extension_of("text/html") is None
