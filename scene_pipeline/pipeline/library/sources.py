"""Where an import comes from, in words: for people, for rows that stay, and as a name.

An address may carry a signature in its query, or a password before its host: neither is shown, or
kept once the import has ended.
"""

from urllib.parse import unquote, urlsplit

from scene_pipeline.database.imports import ImportRow
from scene_pipeline.pipeline.library.naming import MAX_NAME_LENGTH, plain_words

_MAX_SHOWN_CHARACTERS = 300


def shown_address(url: str) -> str:
    """An address without user, query and fragment; whatever it is, it gives one bounded line."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"
    path = parts.path if host else parts.path.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{path}" if host else path
    return plain_words(text)[:_MAX_SHOWN_CHARACTERS] or "an empty address"


def shown_source(row: ImportRow) -> str:
    """What an import comes from, in a few words."""
    if row.source_url is not None:
        return shown_address(row.source_url)
    return f"an upload of {row.upload_content_type}"


def kept_source_url(row: ImportRow) -> str | None:
    """The address as it is kept once the import has ended; None for an upload."""
    return None if row.source_url is None else shown_address(row.source_url)


def name_of(row: ImportRow) -> str:
    """The name that was given, else what the address ends with, else what it is."""
    given = row.name
    if given is None and row.source_url is not None:
        last = shown_address(row.source_url).rstrip("/").rpartition("/")[2]
        given = unquote(last, errors="replace").replace("/", " ").replace("\\", " ")
    return plain_words(given or "")[:MAX_NAME_LENGTH].strip() or row.kind.replace("_", " ")
