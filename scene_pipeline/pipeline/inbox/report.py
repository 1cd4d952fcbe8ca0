"""What a tick of the inbox did, and what it says of a file: in words.

Belongs here: sentences and their bounds. Does not belong here: what is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scene_pipeline.errors import Problem

MAX_PROBLEMS_KEPT = 1000
"""Of one file, in its row."""
_PROBLEMS_TOLD = 5
_SENTENCE_LENGTH = 300


@dataclass(slots=True)
class InboxReport:
    """What one tick did."""

    address: str
    is_busy: bool = False
    """Whether another tick was at it, so that this one did nothing."""
    file_count: int = 0
    imported: list[str] = field(default_factory=list)
    """Files whose content was brought in."""
    set_aside: list[str] = field(default_factory=list)
    """Files that are broken or refused, where that is news."""
    written: list[str] = field(default_factory=list)
    """Documents that were written beside their files."""
    lines: list[str] = field(default_factory=list)
    """For the log: one per file that something happened to."""

    @property
    def summary(self) -> str:
        """One sentence."""
        if self.is_busy:
            return f"Another tick is at {self.address} at this moment."
        done = [
            f"{len(names)} {word}"
            for names, word in (
                (self.imported, "imported"),
                (self.set_aside, "set aside"),
                (self.written, "written back"),
            )
            if names
        ]
        if not done:
            return f"Nothing is new among the {self.file_count} documents in {self.address}."
        return f"Of {self.file_count} documents in {self.address}: {', '.join(done)}."


def told(problems: Sequence[Problem]) -> str:
    """The first problems in words, and how many more there are."""
    shown = " ".join(problem.message[:_SENTENCE_LENGTH] for problem in problems[:_PROBLEMS_TOLD])
    hidden = len(problems) - _PROBLEMS_TOLD
    return f"{shown} And {hidden} more." if hidden > 0 else shown


def kept(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """The problems as they are kept in the row of their file."""
    return [
        {
            "code": problem.code,
            "path": problem.path,
            "message": problem.message,
            "scene_id": problem.scene_id,
        }
        for problem in problems[:MAX_PROBLEMS_KEPT]
    ]
