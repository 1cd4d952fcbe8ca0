"""The kinds of file that the library takes: a closed list, as data.

Belongs here: names and media types. Does not belong here: how a file is recognised
(`media.recognition`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from scene_pipeline.scenes.identity import MediaType


@dataclass(frozen=True, slots=True)
class FileType:
    """One kind of file."""

    name: str
    media: MediaType
    mime_type: str


FILE_TYPES: Final[Mapping[str, FileType]] = MappingProxyType(
    {
        "png": FileType("PNG", "image", "image/png"),
        "jpg": FileType("JPEG", "image", "image/jpeg"),
        "webp": FileType("WebP", "image", "image/webp"),
        "gif": FileType("GIF", "image", "image/gif"),
        "svg": FileType("SVG", "image", "image/svg+xml"),
        "mp4": FileType("MP4", "video", "video/mp4"),
        "mov": FileType("MOV", "video", "video/quicktime"),
        "webm": FileType("WebM", "video", "video/webm"),
        "mkv": FileType("MKV", "video", "video/x-matroska"),
        "avi": FileType("AVI", "video", "video/x-msvideo"),
        "mp3": FileType("MP3", "audio", "audio/mpeg"),
        "wav": FileType("WAV", "audio", "audio/wav"),
        "ogg": FileType("OGG", "audio", "audio/ogg"),
        "aac": FileType("AAC", "audio", "audio/aac"),
        "pdf": FileType("PDF", "document", "application/pdf"),
        "doc": FileType("DOC", "document", "application/msword"),
        "docx": FileType(
            "DOCX",
            "document",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
    }
)
"""By the extension that each is stored under. SVG is taken only where a setting says so."""


def mime_types(media: MediaType, *, allow_svg: bool = False) -> tuple[str, ...]:
    """The media types that are taken of one sort, as they may be declared."""
    return tuple(
        each.mime_type
        for extension, each in FILE_TYPES.items()
        if each.media == media and (allow_svg or extension != "svg")
    )


def extension_of(mime_type: str) -> str | None:
    """The extension of a media type; None where no such file is taken."""
    return next((key for key, each in FILE_TYPES.items() if each.mime_type == mime_type), None)
