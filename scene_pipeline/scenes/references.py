"""Pictures that a document names for models to go by: what each name means, what is known of them.

Belongs here: names and plain facts. Does not belong here: finding the pictures (`database`), asking
foreign servers and checking what a model takes (`pipeline.references`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from scene_pipeline.scenes.identity import (
    is_asset_id,
    is_storage_key,
    parse_frame_asset_id,
)

NameKind = Literal["asset", "frame", "key", "address", "unknown"]
"""asset: something in the library. frame: a version of a scene's frame. key: an object of our
store. address: a URL, which may be one of ours. unknown: none of these."""

ASSET_MARK: Final = "asset:"
_SHOWN_CHARACTERS = 200
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class ReferenceName:
    """One name, taken apart."""

    text: str
    """As the document has it."""
    kind: NameKind
    asset_id: str | None = None
    frame_id: UUID | None = None
    keys: tuple[str, ...] = ()
    """Storage keys that it may stand for: the key itself, or every end of an address's path."""


@dataclass(frozen=True, slots=True)
class PictureProblem:
    """Why a picture cannot be sent now."""

    code: str
    message: str
    next_action: str


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """What is known of a picture that a document names."""

    sha256: str | None = None
    """Of its bytes; None where they were never seen."""
    content_type: str | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None
    storage_key: str | None = None
    """Of ours; None for a foreign address."""
    etag: str | None = None
    """What its server said of this version, as `last_modified`."""
    last_modified: str | None = None
    label: str | None = None
    """What people call it, "hero.png", where it has a name of its own."""
    problem: PictureProblem | None = None

    def is_still(self, etag: str | None, last_modified: str | None, size_bytes: int | None) -> bool:
        """Whether a server says, with these headers, that it has the very bytes that are known."""
        if self.sha256 is None or (self.size_bytes != size_bytes and size_bytes is not None):
            return False
        if self.etag is not None or etag is not None:
            return self.etag == etag and not (etag or "").startswith("W/")
        return self.last_modified is not None and self.last_modified == last_modified


def read_name(text: str) -> ReferenceName:
    """Take the name of a picture apart; nothing is looked up."""
    if text.startswith(ASSET_MARK):
        asset_id = text.removeprefix(ASSET_MARK).strip()
        frame_id = parse_frame_asset_id(asset_id)
        if frame_id is not None:
            return ReferenceName(text, "frame", frame_id=frame_id)
        if is_asset_id(asset_id):
            return ReferenceName(text, "asset", asset_id=asset_id)
        return ReferenceName(text, "unknown")
    if _ADDRESS.match(text):
        return ReferenceName(text, "address", keys=_keys_in_path(text))
    if is_storage_key(text):
        return ReferenceName(text, "key", keys=(text,))
    return ReferenceName(text, "unknown")


def shown_name(text: str) -> str:
    """A name for messages: without the query, the user and the length of an address."""
    if _ADDRESS.match(text):
        scheme, _, rest = text.partition("://")
        address, query, _ = rest.partition("?")
        authority, slash, path = address.partition("/")
        host = authority.rpartition("@")[2]
        text = f"{scheme}://{host}{slash}{path}{'?...' if query else ''}"
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable[:_SHOWN_CHARACTERS]


def described(text: str, label: str | None) -> str:
    """A name and what people call the picture: "asset:ast_... (hero.png)"."""
    return f"{shown_name(text)} ({label[:80]})" if label else shown_name(text)


def replaced_pictures(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Names that two contents of a scene share, and whose pictures have other bytes now.

    Args:
        before: Content by parts, as `generations.content` keeps it.
        after: The same of today.
    """
    known, now = before.get("reference_digests") or {}, after.get("reference_digests") or {}
    shared = set(before.get("references") or ()) & set(after.get("references") or ())
    for name in after.get("references") or ():
        if name in shared and known.get(name) != now.get(name):
            yield name


def _keys_in_path(address: str) -> tuple[str, ...]:
    """Every end of an address's path that could be a storage key, the longest first."""
    try:
        parts = urlsplit(address).path.strip("/").split("/")
    except ValueError:
        return ()
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    # a key of ours has a folder at least, so that a bare file name is never looked for
    return tuple(end for end in ends if "/" in end and is_storage_key(end))[:16]
