"""Keys of projects and scenes: readable and reversible, for people see them."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote, unquote_to_bytes

from scene_pipeline.errors import DocumentError, UsageError
from scene_pipeline.scenes.identity.slugs import slug

MAX_PROJECT_KEY_BYTES = 80
"""Encoded length of the project's half; with the scene's half and the slash 200 bytes in all."""
MAX_SCENE_ID_BYTES = 119
"""Encoded length of the scene's half."""
SHARED_LIBRARY_KEY = "_library"
"""Partition of what belongs to no project."""
_PROJECT_NAMED_SO = "%5Flibrary"
"""Partition of a project that has that very key."""

_NEIGHBOURING_DOTS = re.compile(r"\.{2,}")


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


def library_partition_key(project_key: str | None) -> str:
    """Build the key of a partition of the library: a project's, or the one shared by all.

    Args:
        project_key: The project's readable key; None for what belongs to no project.

    Raises:
        DocumentError: The key is empty, too long or holds characters that no key can.
    """
    if project_key is None:
        return SHARED_LIBRARY_KEY
    return (
        _PROJECT_NAMED_SO
        if project_key == SHARED_LIBRARY_KEY
        else project_partition_key(project_key)
    )


def parse_library_partition_key(key: str) -> str | None:
    """Give back the project key of a partition of the library; None for the shared one.

    Raises:
        UsageError: The key is not one that `library_partition_key` builds.
    """
    if key == SHARED_LIBRARY_KEY:
        return None
    return SHARED_LIBRARY_KEY if key == _PROJECT_NAMED_SO else parse_project_partition_key(key)


def scene_id_problem(scene_id: str) -> str | None:
    """Say in one sentence why a text cannot be a scene id; None where it can."""
    return _identifier_problem("scene id", scene_id, MAX_SCENE_ID_BYTES)


def project_key_problem(project_key: str) -> str | None:
    """Say in one sentence why a text cannot be a project key; None where it can."""
    return _identifier_problem("project key", project_key, MAX_PROJECT_KEY_BYTES)


def project_key_from_filename(name: str) -> str:
    """Make a project key of a document's file name: `My Film.json` becomes `my-film`."""
    file_name = PurePosixPath(name.replace("\\", "/")).name
    return slug(re.sub(r"\.json$", "", file_name, flags=re.IGNORECASE))


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
