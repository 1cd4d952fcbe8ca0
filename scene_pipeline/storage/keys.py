"""What every store asks of a key and of the bytes that come with it.

Belongs here: checks that are the same for all stores, and the closed list of types that a key's
extension stands for. Does not belong here: how keys are built (`scenes.identity`).

Keys are our own, so these checks never fire in a sound program. They stand in every store because
a key becomes a path on disk and a part of a URL, and one unsound caller is enough.
"""

import hashlib
import re
from pathlib import Path

from scene_pipeline.errors import StorageError
from scene_pipeline.scenes.identity import is_storage_key
from scene_pipeline.storage.files import pieces_of

MAX_OBJECT_BYTES = 256 * 1024 * 1024
"""What `put` and `read` take: they hold one object in memory, and this bounds that memory."""
MAX_FILE_BYTES = 5 * 1024**3
"""What `put_file` takes: it and `open` hold one chunk in memory."""
OCTET_STREAM = "application/octet-stream"
CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "json": "application/json",
    "txt": "text/plain",
    "gif": "image/gif",
    "svg": "image/svg+xml",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "mkv": "video/x-matroska",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "pdf": "application/pdf",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "html": "text/html",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
"""The types that are stored under their own name; everything else is `application/octet-stream`."""
INLINE_TYPES = frozenset(
    {"image/png", "image/jpeg", "image/webp", "image/gif"}
    | {"video/mp4", "video/webm", "video/quicktime"}
    | {"audio/mpeg", "audio/wav", "audio/ogg", "audio/aac"}
)
"""What a browser may show in place. Everything else is offered as a download, by every store and by
our own server: HTML and SVG run scripts in the reader's browser."""

_CHUNK_BYTES = 1024 * 1024
_HIDDEN_PART = re.compile(r"(^|/)\.")
_CONTENT_NAMED = re.compile(r"_([0-9a-f]{16,64})\.[a-z0-9]{2,7}")


def check_key(key: str) -> str:
    """Give back a key that is safe as a path and in a URL.

    Raises:
        StorageError: code "key_invalid"; parts that start with a dot are refused too, since the
            local store keeps its unfinished files under such names.
    """
    if not is_storage_key(key) or _HIDDEN_PART.search(key):
        raise StorageError(f"{key[:80]!r} is not a storage key.", code="key_invalid")
    return key


def check_prefix(prefix: str) -> str:
    """Give back a prefix that some storage key could start with; "" stands for all keys.

    Raises:
        StorageError: code "key_invalid".
    """
    check_key(f"{prefix}x")
    return prefix


def check_object(key: str, data: bytes, content_type: str, sha256: str) -> None:
    """Check everything that can be known before bytes are sent anywhere.

    Raises:
        StorageError: code "key_invalid", "object_too_large", "checksum_mismatch" or
            "content_type_mismatch" (the key's extension stands for another type).
    """
    check_key(key)
    check_size(key, len(data))
    if hashlib.sha256(data).hexdigest() != sha256:
        raise other_digest(key)
    check_type(key, content_type)


def check_file(
    key: str, path: Path, content_type: str, sha256: str, *, max_bytes: int = MAX_FILE_BYTES
) -> int:
    """Check a file as `check_object` does bytes, one chunk of it in memory at a time.

    Returns:
        Its size in bytes.

    Raises:
        StorageError: As for `check_object`, and code "file_unreadable".
    """
    check_type(check_key(key), content_type)
    digest = hashlib.sha256()
    try:
        size_bytes = path.stat().st_size
        check_size(key, size_bytes, max_bytes)
        for piece in pieces_of(path, _CHUNK_BYTES):
            digest.update(piece)
    except OSError as error:
        raise unreadable_file(path, error) from error
    if digest.hexdigest() != sha256:
        raise other_digest(key)
    return size_bytes


def check_type(key: str, content_type: str) -> None:
    """Refuse a type that the key's extension does not stand for.

    Raises:
        StorageError: code "content_type_mismatch".
    """
    expected = content_type_of(key)
    if content_type != expected:
        message = f"{key} stands for {expected}, not for {content_type[:80]}."
        raise StorageError(message, code="content_type_mismatch")


def check_size(key: str, size_bytes: int, max_bytes: int = MAX_OBJECT_BYTES) -> None:
    """Refuse an object that must not be held in memory, or is beyond another bound.

    Raises:
        StorageError: code "object_too_large".
    """
    if size_bytes > max_bytes:
        message = f"{key} has {size_bytes} bytes; at most {max_bytes} are stored."
        raise StorageError(message, code="object_too_large")


def content_type_of(key: str) -> str:
    """The type that a key's extension stands for, from a closed list."""
    _, dot, extension = key.rpartition(".")
    return CONTENT_TYPES.get(extension, OCTET_STREAM) if dot else OCTET_STREAM


def content_digest_in(key: str) -> str | None:
    """The hex digits of the content's sha256 that a key carries, where it is named for its content.

    Such a key can never stand for other bytes, so its answer may be cached for ever.
    """
    match = _CONTENT_NAMED.search(key)
    return match.group(1) if match is not None and match.end() == len(key) else None


def missing_object(key: str) -> StorageError:
    """The error of reading an object that is not there."""
    return StorageError(f"{key} is not in the object store.", code="object_missing")


def other_digest(key: str) -> StorageError:
    """The error of bytes that are not those that were announced."""
    message = f"The bytes for {key} do not have the sha256 that was announced."
    return StorageError(message, code="checksum_mismatch")


def unreadable_file(path: Path, error: OSError) -> StorageError:
    """The error of a file that was to be stored and cannot be read."""
    message = f"{path.name} cannot be read: {error.strerror}."
    return StorageError(message, code="file_unreadable", next_action="Look at that file.")


def foreign_object(key: str) -> StorageError:
    """The error of writing where other bytes already are; objects are immutable."""
    message = f"{key} already holds other bytes; stored objects are never overwritten."
    return StorageError(
        message,
        code="object_exists",
        next_action="See with `scene-pipeline reconcile` which of the two is damaged: keys carry"
        " the content's digest.",
    )


def taken_key(key: str) -> StorageError:
    """The error of an upload onto an object that is there, whatever its bytes."""
    return StorageError(
        f"{key} is taken: an upload never writes over an object.",
        code="object_exists",
        next_action="Ask for another upload.",
    )


def corrupted_object(key: str) -> StorageError:
    """The error of an object whose bytes are not those of its digest."""
    message = f"{key} came back with other bytes than its own digest says."
    return StorageError(message, code="storage_corrupted", retryable=True)
