"""Names in the library: opaque ids of assets, and where their bytes lie, by kind."""

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, get_args
from uuid import UUID

from scene_pipeline.scenes.identity.storage_keys import (
    ASSETS_PREFIX,
    KEY_DIGITS,
    checked_digest,
    checked_extension,
    key_timestamp,
)

AssetKind = Literal[
    "image", "video", "audio", "document", "element_image", "scene_video", "final_render"
]
"""What people keep. The last three belong to other phases of a film: pictures of its characters and
places, the scenes' videos, the finished film."""
LibraryKind = Literal["frame"] | AssetKind
"""The kinds that the library shows: generated frames are among them."""
MediaType = Literal["image", "video", "audio", "document"]

ASSET_KINDS: Final[tuple[AssetKind, ...]] = get_args(AssetKind)
MEDIA_OF_KIND: Final[Mapping[AssetKind, MediaType]] = MappingProxyType(
    {
        "image": "image",
        "element_image": "image",
        "video": "video",
        "scene_video": "video",
        "final_render": "video",
        "audio": "audio",
        "document": "document",
    }
)
_FOLDERS: Mapping[AssetKind, str] = MappingProxyType(
    {
        "image": "images",
        "element_image": "elements",
        "video": "videos",
        "scene_video": "scene-videos",
        "final_render": "renders",
        "audio": "audio",
        "document": "documents",
    }
)
DERIVED_PREFIX = f"{ASSETS_PREFIX}/derived"
"""Other forms of pictures."""
UPLOADS_PREFIX = "uploads"
"""What came in by a presigned upload and is not looked at yet; nobody is shown these."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ASSET_ID_LENGTH = 26
_ASSET_ID = re.compile(rf"ast_[{_ALPHABET}]{{{_ASSET_ID_LENGTH}}}")
_FRAME_ID = re.compile(r"frm_[0-9a-f]{32}")


def new_asset_id() -> str:
    """Make up the id of an asset: 130 random bits that mean nothing, "ast_" before them."""
    return "ast_" + "".join(secrets.choice(_ALPHABET) for _ in range(_ASSET_ID_LENGTH))


def frame_asset_id(image_id: UUID) -> str:
    """The id under which the library shows a version of a scene's frame."""
    return f"frm_{image_id.hex}"


def parse_frame_asset_id(asset_id: str) -> UUID | None:
    """The row of `scene_images` that an id stands for; None where it is not such an id."""
    return UUID(asset_id[4:]) if _FRAME_ID.fullmatch(asset_id) else None


def is_asset_id(text: str) -> bool:
    """Whether a text has the form of an id of the library, of either sort."""
    return bool(_ASSET_ID.fullmatch(text) or _FRAME_ID.fullmatch(text))


def asset_storage_key(
    kind: AssetKind,
    created_at: datetime,
    sha256: str,
    extension: str,
    *,
    digits: int = KEY_DIGITS,
) -> str:
    """Build the storage key of something in the library.

    Args:
        kind: Decides the folder.
        created_at: When it was asked for, so that a retry makes the same key; aware.
        sha256: Hex digest of the stored bytes.
        extension: Without a dot.
        digits: Hex digits of the digest that are shown, 16 to 64: more of them make another key
            where the shorter one was collected and is used up.

    Returns:
        `assets/<folder>/asset_<YYYYMMDDTHHMMSSZ>_<16 hex digits>.<extension>`
    """
    name = f"asset_{key_timestamp(created_at)}_{checked_digest(sha256)[:digits]}"
    return f"{ASSETS_PREFIX}/{_FOLDERS[kind]}/{name}.{checked_extension(extension)}"


def derived_asset_key(
    sha256: str, extension: str, source_stored_at: datetime, *, digits: int = KEY_DIGITS
) -> str:
    """Build the storage key of what was derived from a picture.

    Args:
        sha256: Hex digest of the derivative's own bytes.
        extension: Without a dot.
        source_stored_at: When the picture was stored, so that a retry makes the same key, and the
            same picture that comes in anew, after everything of it was collected, another one;
            aware.
        digits: As for `asset_storage_key`.

    Returns:
        `assets/derived/d_<YYYYMMDDTHHMMSSZ>_<16 hex digits>.<extension>`; older ones have no time.
    """
    name = f"d_{key_timestamp(source_stored_at)}_{checked_digest(sha256)[:digits]}"
    return f"{DERIVED_PREFIX}/{name}.{checked_extension(extension)}"


def upload_storage_key(import_id: UUID, extension: str) -> str:
    """Build the key under which an upload from outside arrives: `uploads/<id>.<extension>`."""
    return f"{UPLOADS_PREFIX}/{import_id}.{checked_extension(extension)}"
