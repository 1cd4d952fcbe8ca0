"""What came of a file of the inbox, and what people are told of it.

Belongs here: from an import or an error to a state and a sentence. Does not belong here: reading,
importing, keeping.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from scene_pipeline.database.inbox import InboxState
from scene_pipeline.errors import DocumentError, Problem, UsageError
from scene_pipeline.pipeline.inbox.report import told
from scene_pipeline.pipeline.inbox.sources import InboxEntry, output_name
from scene_pipeline.pipeline.projects.importing import ImportedProject
from scene_pipeline.scenes.json_text import MAX_DOCUMENT_BYTES

UNFINISHED_SECONDS = 10.0
"""A file that changed later than this may be cut short because somebody is still writing it."""

_CUT_SHORT = frozenset({"not_json", "not_utf8", "document_empty"})
"""What a file that is not whole yet looks like."""
_OF_ANOTHER_MOMENT = frozenset({"import_conflict"})
"""Refusals that mean nothing but that somebody else was at it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one file."""

    state: InboxState
    sha256: str | None
    """None where the content was not read."""
    problems: Sequence[Problem] = ()
    project_id: UUID | None = None
    code: str | None = None
    """None where there is nothing to tell."""
    message: str = ""
    next_action: str = "Correct the file; it is read again by itself."


def imported(where: str, sha256: str, project: ImportedProject, project_id: UUID) -> Verdict:
    """The file is its project's document, maybe without some scenes."""
    if not project.problems:
        return Verdict("imported", sha256, project_id=project_id)
    scene_count = len({problem.scene_id for problem in project.problems})
    return Verdict(
        "imported",
        sha256,
        project.problems,
        project_id,
        code="scenes_set_aside",
        message=f"{where} was imported as {project.key}, without {scene_count} of its"
        f" {project.scene_count + scene_count} scenes: {told(project.problems)}",
        next_action="Correct these scenes in the file; it is read again by itself.",
    )


def never_opened(where: str, entry: InboxEntry) -> Verdict | None:
    """What is wrong with a file as it is seen from outside; None where nothing is."""
    obstacle = entry.obstacle
    if obstacle is None and entry.size_bytes > MAX_DOCUMENT_BYTES:
        obstacle = Problem(
            "document_too_large",
            "$",
            f"The document has {entry.size_bytes / 1_000_000:.1f} MB; at most"
            f" {MAX_DOCUMENT_BYTES // 1_000_000} MB are read.",
        )
    return None if obstacle is None else _broken(where, None, [obstacle])


def of_error(where: str, entry: InboxEntry, sha256: str | None, error: Exception) -> Verdict | None:
    """What an error says of a file; None where the next tick may see another file.

    Args:
        where: The file's address.
        entry: The file.
        sha256: Of what was read.
        error: From reading or importing it; what is no `UsageError` is the database's word that
            it cannot hold the document.
    """
    if not isinstance(error, UsageError):
        problem = Problem("document_not_storable", "$", "The database cannot hold the document.")
        return _broken(where, sha256, [problem])
    if isinstance(error, DocumentError):
        if error.error_code in _CUT_SHORT and entry.age_seconds < UNFINISHED_SECONDS:
            return None
        problems = error.problems or (Problem(error.error_code, "$", error.message),)
        return _broken(where, sha256, problems)
    if error.error_code in _OF_ANOTHER_MOMENT:
        return None
    next_actions = {
        "edited_since_import": f"Save {output_name(entry.path)} over it and change that, or import"
        " the file with `scene-pipeline import --force`.",
        "origin_differs": 'Write a key of its own into the file ("project": {"key": ...}), or give'
        " it another name.",
    }
    return Verdict(
        "refused",
        sha256,
        (Problem(error.error_code, "$", error.message),),
        code=error.error_code,
        message=f"{where} was not imported: {error.message}",
        next_action=next_actions.get(error.error_code, error.next_action),
    )


def _broken(where: str, sha256: str | None, problems: Sequence[Problem]) -> Verdict:
    count = "" if len(problems) == 1 else f" has {len(problems)} problems and"
    return Verdict(
        "broken",
        sha256,
        problems,
        code=problems[0].code,
        message=f"{where}{count} was not imported: {told(problems)}",
    )
