"""Storage keys: one-way, since nothing that a user typed may reach a path or an URL as it is."""

import re
from datetime import UTC, datetime
from uuid import UUID

from scene_pipeline.scenes.identity.slugs import slug, text_digest

MAX_STORAGE_KEY_LENGTH = 512
KEY_DIGITS = 16
"""Hex digits of the content's sha256 in a storage key."""
MAX_KEY_DIGITS = 64

PROJECTS_PREFIX = "projects"
SCENES_FOLDER = "scenes"
SHEETS_FOLDER = "sheets"
REPORTS_PREFIX = "reports"
"""Reports over all projects; those of one project lie in a folder of this name below it."""
ASSETS_PREFIX = "assets"
"""Uploaded and imported pictures, the user's own."""
DOCTOR_PREFIX = "doctor"
"""Objects that `doctor` writes, reads and deletes again."""
READABLE_PREFIXES = (PROJECTS_PREFIX, ASSETS_PREFIX, REPORTS_PREFIX)
"""Where everything lies whose addresses people are given: frames, sheets, reports, and what is in
the library. Uploads that nobody has looked at and the objects of `doctor` are not among them."""

_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_EXTENSION = re.compile(r"[a-z0-9]{2,7}")
_STORAGE_KEY = re.compile(r"[a-z0-9][A-Za-z0-9/_.-]*")
_SIMPLE_SCENE_ID = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_REPORT_KIND = re.compile(r"[a-z]+(_[a-z]+)*")
_REPORT_PAGE = re.compile(rf"(?:{PROJECTS_PREFIX}/[0-9a-f-]{{36}}/)?{REPORTS_PREFIX}/[^/]+\.html")
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_KEY_TIME = re.compile(r"_(\d{8}T\d{6}Z)_[0-9a-f]{16,64}\.[a-z0-9]{2,7}$")


def frame_storage_key(
    project_id: UUID,
    scene_id: str,
    created_at: datetime,
    sha256: str,
    extension: str,
    *,
    image_index: int = 0,
    digits: int = KEY_DIGITS,
) -> str:
    """Build the storage key of a scene's frame.

    The time is the generation's own, so that a retry makes the same key.

    Args:
        project_id: The project's row.
        scene_id: The scene's id; its slug is what shows. Ids that differ only in what a slug drops
            ("Scene_1" and "scene_1") are told apart by digits of their hash.
        created_at: When the generation was planned; aware.
        sha256: Hex digest of the stored bytes.
        extension: "jpeg", "png" or "webp", without a dot.
        image_index: Which of several candidates, from 0; it shows from 1 on, so that two candidates
            with the same bytes have a key each.
        digits: How many hex digits of the digest are shown, 16 to 64: more of them make another key
            for the same bytes, where the shorter one was collected and is used up.

    Returns:
        `projects/<id>/scenes/<scene>_<YYYYMMDDTHHMMSSZ>_<16 hex digits>.<extension>`, with `_c<n>`
        after the scene for a further candidate.
    """
    digest = checked_digest(sha256)[:digits]
    candidate = f"_c{image_index}" if image_index else ""
    name = f"{_scene_part(scene_id)}{candidate}_{key_timestamp(created_at)}_{digest}"
    return _project_object(project_id, SCENES_FOLDER, name, extension)


def sheet_storage_key(project_id: UUID, created_at: datetime, sha256: str, extension: str) -> str:
    """Build the storage key of a project's contact sheet, `projects/<id>/sheets/sheet_...`."""
    name = f"sheet_{key_timestamp(created_at)}_{checked_digest(sha256)[:KEY_DIGITS]}"
    return _project_object(project_id, SHEETS_FOLDER, name, extension)


def report_storage_key(
    project_id: UUID | None, kind: str, created_at: datetime, sha256: str, extension: str
) -> str:
    """Build the storage key of a report's file.

    Args:
        project_id: The project's row; None for a report over all of them.
        kind: What it is, "project_report_csv": lower-case letters and underscores.
        created_at: When it was made; aware.
        sha256: Hex digest of its bytes.
        extension: Without a dot.

    Returns:
        `projects/<id>/reports/<kind>_<time>_<16 hex digits>.<extension>`, or the same name below
        `reports/`.
    """
    if _REPORT_KIND.fullmatch(kind) is None:
        raise ValueError(f"not a kind of report: {kind!r}")
    name = f"{kind}_{key_timestamp(created_at)}_{checked_digest(sha256)[:KEY_DIGITS]}"
    if project_id is None:
        return f"{REPORTS_PREFIX}/{name}.{checked_extension(extension)}"
    return _project_object(project_id, REPORTS_PREFIX, name, extension)


def is_report_page(key: str) -> bool:
    """Whether a storage key is that of a report to be looked at, an HTML page of our own."""
    return _REPORT_PAGE.fullmatch(key) is not None


def storage_key_time(key: str) -> datetime | None:
    """When the thing that a storage key names was made; None where the key does not say."""
    match = _KEY_TIME.search(key)
    if match is None:
        return None
    try:
        return datetime.strptime(match.group(1), _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def is_storage_key(key: str) -> bool:
    """Whether a text has the form of our storage keys, as the database checks it too."""
    return (
        len(key) <= MAX_STORAGE_KEY_LENGTH
        and _STORAGE_KEY.fullmatch(key) is not None
        and not any(part in {"", ".", ".."} for part in key.split("/"))
    )


def _scene_part(scene_id: str) -> str:
    part = slug(scene_id)
    is_faithful = _SIMPLE_SCENE_ID.fullmatch(scene_id) and len(part) == len(scene_id)
    return part if is_faithful else f"{part}-{text_digest(scene_id)[:6]}"


def _project_object(project_id: UUID, folder: str, name: str, extension: str) -> str:
    return f"{PROJECTS_PREFIX}/{project_id}/{folder}/{name}.{checked_extension(extension)}"


def checked_extension(extension: str) -> str:
    """Give back a file extension that may stand in a key; ValueError for anything else."""
    if _EXTENSION.fullmatch(extension) is None:
        raise ValueError(f"not a file extension: {extension!r}")
    return extension


def key_timestamp(moment: datetime) -> str:
    """How a time stands in a key, in UTC; ValueError where it has no zone."""
    if moment.tzinfo is None:
        raise ValueError("the time of a storage key must be aware")
    return moment.astimezone(UTC).strftime(_TIME_FORMAT)


def checked_digest(sha256: str) -> str:
    """Give back a digest of the form that keys are made of; ValueError for anything else."""
    if _HEX_DIGEST.fullmatch(sha256) is None:
        raise ValueError("a storage key needs the 64 lower-case hex digits of a sha256")
    return sha256
