"""What a check found: one fact for `doctor`, with the cure where something is wrong.

Belongs here: the record alone, because every room below the doors reports with it. Does not belong
here: the checks themselves, which live beside what they check.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """What was looked at, short and stable: "storage write"."""
    is_ok: bool
    """Whether it is as it should be."""
    detail: str
    """What was seen, in one sentence; never a secret."""
    cure: str | None = None
    """What to do where it is not as it should be."""
