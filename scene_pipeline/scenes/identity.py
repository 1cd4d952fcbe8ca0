"""The one place that builds identifiers and paths.

Belongs here: partition keys, slugs, storage keys, derived seeds, and their limits. Does not belong
here: who uses them, and hashes of content (`scenes.hashes`).

Two alphabets are in use. Partition keys stay readable and reversible, because people see them and
Dagster hands them back; storage keys are one-way, because nothing that a user typed may reach a
path or an URL as it is.
"""

import hashlib
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

from scene_pipeline.errors import DocumentError, UsageError

MAX_PROJECT_KEY_BYTES = 80
"""Encoded length of the project's half; with the scene's half and the slash 200 bytes in all."""
MAX_SCENE_ID_BYTES = 119
"""Encoded length of the scene's half."""
MAX_STORAGE_KEY_LENGTH = 512
KEY_DIGITS = 16
"""Hex digits of the content's sha256 in a storage key."""
MAX_KEY_DIGITS = 64

PROJECTS_PREFIX = "projects"
SCENES_FOLDER = "scenes"
SHEETS_FOLDER = "sheets"
DERIVATIVES_FOLDER = "derivatives"
ASSETS_PREFIX = "assets"
"""Uploaded and imported pictures, the user's own."""
DOCTOR_PREFIX = "doctor"
"""Objects that `doctor` writes, reads and deletes again."""

DerivativeKind = Literal["thumbnail", "webp"]

_NEIGHBOURING_DOTS = re.compile(r"\.{2,}")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_EXTENSION = re.compile(r"[a-z0-9]{2,5}")
_STORAGE_KEY = re.compile(r"[a-z0-9][A-Za-z0-9/_.-]*")
_SIMPLE_SCENE_ID = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_SLUG_LENGTH = 60
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_KEY_TIME = re.compile(r"_(\d{8}T\d{6}Z)_[0-9a-f]{16,64}\.[a-z0-9]{2,5}$")


def partition_key(project_key: str, scene_id: str) -> str:
    """Build the key of a scene's partition, `<project>/<scene>`.

    Args:
        project_key: The project's readable key.
        scene_id: The scene's id, as the document spells it.

    Returns:
        At most 200 bytes of `[A-Za-z0-9_.~-]`, `%XX` and one slash, never with two dots in a row:
        Dagster accepts `a,b`, `[x]` and `a...b` as keys and then breaks backfills from its UI.

    Raises:
        DocumentError: One of the two is empty, too long or holds characters that no key can.
    """
    problem = scene_id_problem(scene_id)
    if problem is not None:
        raise DocumentError(problem, code="bad_scene_id")
    return f"{project_partition_key(project_key)}/{_encode(scene_id)}"


def parse_partition_key(key: str) -> tuple[str, str]:
    """Split a scene's partition key into project key and scene id.

    Raises:
        UsageError: The key is not one that `partition_key` builds.
    """
    project_half, slash, scene_half = key.partition("/")
    scene_id = _decode(scene_half)
    if not slash or scene_id is None or scene_id_problem(scene_id) is not None:
        raise _bad_partition_key(key)
    return parse_project_partition_key(project_half), scene_id


def project_partition_key(project_key: str) -> str:
    """Build the key of a project's partition: its readable key, encoded as in `partition_key`.

    Raises:
        DocumentError: The key is empty, too long or holds characters that no key can.
    """
    problem = project_key_problem(project_key)
    if problem is not None:
        raise DocumentError(problem, code="bad_project_key")
    return _encode(project_key)


def parse_project_partition_key(key: str) -> str:
    """Give back the project key that a project's partition key was built from.

    Raises:
        UsageError: The key is not one that `project_partition_key` builds.
    """
    project_key = _decode(key)
    if project_key is None or project_key_problem(project_key) is not None:
        raise _bad_partition_key(key)
    return project_key


def scene_id_problem(scene_id: str) -> str | None:
    """Say in one sentence why a text cannot be a scene id; None where it can."""
    return _identifier_problem("scene id", scene_id, MAX_SCENE_ID_BYTES)


def project_key_problem(project_key: str) -> str | None:
    """Say in one sentence why a text cannot be a project key; None where it can."""
    return _identifier_problem("project key", project_key, MAX_PROJECT_KEY_BYTES)


def slug(text: str, *, max_length: int = _SLUG_LENGTH) -> str:
    """Reduce a text to lower-case ASCII letters, digits and single hyphens.

    Accents are dropped. A text of which nothing remains (another script, punctuation only) becomes
    `untitled-` and eight digits of its hash, so that two such texts stay apart.

    Args:
        text: Anything.
        max_length: Longest result, at least 17 characters.

    Returns:
        1 to `max_length` characters that start and end with a letter or digit.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    words = re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")
    return words[:max_length].rstrip("-") or f"untitled-{_digest(text)[:8]}"


def project_key_from_filename(name: str) -> str:
    """Make a project key of a document's file name: `My Film.json` becomes `my-film`."""
    file_name = PurePosixPath(name.replace("\\", "/")).name
    return slug(re.sub(r"\.json$", "", file_name, flags=re.IGNORECASE))


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
    digest = _checked_digest(sha256)[:digits]
    candidate = f"_c{image_index}" if image_index else ""
    name = f"{_scene_part(scene_id)}{candidate}_{_timestamp(created_at)}_{digest}"
    return _project_object(project_id, SCENES_FOLDER, name, extension)


def sheet_storage_key(project_id: UUID, created_at: datetime, sha256: str, extension: str) -> str:
    """Build the storage key of a project's contact sheet, `projects/<id>/sheets/sheet_...`."""
    name = f"sheet_{_timestamp(created_at)}_{_checked_digest(sha256)[:KEY_DIGITS]}"
    return _project_object(project_id, SHEETS_FOLDER, name, extension)


def storage_key_time(key: str) -> datetime | None:
    """When the thing that a storage key names was made; None where the key does not say."""
    match = _KEY_TIME.search(key)
    if match is None:
        return None
    try:
        return datetime.strptime(match.group(1), _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def derivative_storage_key(
    project_id: UUID, kind: DerivativeKind, sha256: str, extension: str
) -> str:
    """Build the storage key of a picture derived from a frame.

    Args:
        project_id: The project's row.
        kind: What was derived.
        sha256: Hex digest of the derivative's own bytes, so that the key can never hold others.
        extension: Without a dot.
    """
    name = f"{kind}_{_checked_digest(sha256)[:32]}"
    return _project_object(project_id, DERIVATIVES_FOLDER, name, extension)


def is_storage_key(key: str) -> bool:
    """Whether a text has the form of our storage keys, as the database checks it too."""
    return (
        len(key) <= MAX_STORAGE_KEY_LENGTH
        and _STORAGE_KEY.fullmatch(key) is not None
        and not any(part in {"", ".", ".."} for part in key.split("/"))
    )


def derive_seed(idempotency_key: str) -> int:
    """Choose the seed of a generation from its idempotency key.

    Two planners that plan the same request choose the same seed, so that a request whose answer
    was lost is recognised in the provider's history.

    Returns:
        0 to 2**31 - 1.
    """
    return int(_digest(idempotency_key)[:8], 16) & 0x7FFF_FFFF


def fixed_seed(project_id: UUID, scene_id: str) -> int:
    """Choose the seed of the policy "fixed": the same for every version of a scene.

    Returns:
        0 to 2**31 - 1.
    """
    return derive_seed(f"fixed:{project_id}/{scene_id}")


def next_seed(seed: int) -> int:
    """Choose the seed of the policy "increment": the one after it; 0 follows the last."""
    return (seed + 1) & 0x7FFF_FFFF


def _identifier_problem(what: str, text: str, max_bytes: int) -> str | None:
    if not text:
        return f"The {what} is empty."
    categories = {unicodedata.category(character) for character in text}
    if "Cc" in categories:
        return f"The {what} {text[:40]!r} contains a control character."
    if "Cs" in categories:
        return f"The {what} {text[:40]!r} contains half of a character (a lone surrogate)."
    length = len(_encode(text))
    if length > max_bytes:
        return (
            f'The {what} "{text[:40]}..." is too long: {length} of at most {max_bytes} bytes, where'
            " every byte of a character other than A-Z a-z 0-9 _ . ~ - counts three."
        )
    return None


def _encode(text: str) -> str:
    quoted = quote(text, safe="")  # leaves A-Z a-z 0-9 _ . ~ - alone
    return _NEIGHBOURING_DOTS.sub(lambda dots: "%2E" * len(dots.group()), quoted)


def _decode(encoded: str) -> str | None:
    """Undo `_encode`; None for anything that it does not build."""
    try:
        text = unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeError:
        return None
    return text if _encode(text) == encoded else None


def _bad_partition_key(key: str) -> UsageError:
    return UsageError(
        f"{key[:250]!r} is not a partition key of this program.",
        code="bad_partition_key",
        next_action="Use a key as Dagster's partitions page shows it, <project>/<scene>.",
    )


def _scene_part(scene_id: str) -> str:
    part = slug(scene_id)
    is_faithful = _SIMPLE_SCENE_ID.fullmatch(scene_id) and len(part) == len(scene_id)
    return part if is_faithful else f"{part}-{_digest(scene_id)[:6]}"


def _project_object(project_id: UUID, folder: str, name: str, extension: str) -> str:
    if _EXTENSION.fullmatch(extension) is None:
        raise ValueError(f"not a file extension: {extension!r}")
    return f"{PROJECTS_PREFIX}/{project_id}/{folder}/{name}.{extension}"


def _timestamp(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("the time of a storage key must be aware")
    return moment.astimezone(UTC).strftime(_TIME_FORMAT)


def _checked_digest(sha256: str) -> str:
    if _HEX_DIGEST.fullmatch(sha256) is None:
        raise ValueError("a storage key needs the 64 lower-case hex digits of a sha256")
    return sha256


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
