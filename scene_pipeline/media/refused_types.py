"""Files that are something, but nothing we take: named in the message, never decoded.

Belongs here: first bytes and names. Does not belong here: what is taken (`media.file_types`).
"""

_MAGICS = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"SIMPLE  =", "FITS"),
    (b"fLaC", "FLAC"),
    (b"FORM", "AIFF"),
    (b"MThd", "MIDI"),
    (b"FLV\x01", "Flash video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (b"\x00\x00\x01\xba", "MPEG-1 or MPEG-2 video"),
    (b"{\\rtf", "RTF"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xce\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a Java or macOS program"),
    (b"#!", "a script"),
    (b"PK", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"<", "SVG, HTML or XML"),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def refused_name(data: bytes) -> str | None:
    """What a file is by its first 64 bytes; None where that is not known."""
    beginning = data[:64].removeprefix(_BYTE_ORDER_MARK).lstrip()
    return next((name for magic, name in _MAGICS if beginning.startswith(magic)), None)
