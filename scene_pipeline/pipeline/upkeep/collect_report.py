"""What a collection is told in.

Belongs here: values. Does not belong here: the work (`pipeline.upkeep.collect`).
"""

from dataclasses import dataclass, field

from scene_pipeline.database.collection import Amount
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.upkeep.retain import RetainReport

MAX_EXAMPLES = 20


@dataclass
class CollectReport:
    """What a collection found and, where it was applied, did."""

    is_applied: bool
    leftovers: Amount = field(default_factory=Amount)
    """Objects with a row that nothing refers to; marked by this call where it was applied."""
    unfinished: Amount = field(default_factory=Amount)
    """Objects that an earlier call marked and did not get to remove."""
    late: Amount = field(default_factory=Amount)
    """Objects that arrived after they had been removed."""
    retained: RetainReport | None = None
    """What retention gave up, or would; those objects are collected after the grace."""
    old_sheets: int = 0
    """Contact sheets beyond the newest of their project."""
    old_reports: int = 0
    """Files of reports beyond the newest of their project and kind."""
    unknown: Amount = field(default_factory=Amount)
    """Objects older than the grace period that no row knows."""
    undated: Amount = field(default_factory=Amount)
    """Objects that no row knows and whose key does not say when they were made: never removed."""
    uploads: Amount = field(default_factory=Amount)
    """Uploads from outside that no import waits for."""
    unfinished_uploads: int = 0
    """Uploads that died in the store half-way and were given up; 0 where nothing was applied."""
    deleted: Amount = field(default_factory=Amount)
    """Objects whose bytes were removed by this call."""
    unknown_keys: list[str] = field(default_factory=list)
    """The first of the unknown and undated objects."""
    failures: list[str] = field(default_factory=list)
    """What the store refused, in one sentence each; those objects stay marked."""
    is_complete: bool = True
    """False where more is left for the next call."""

    @property
    def old_versions(self) -> Amount:
        """Versions that retention gave up, or would."""
        return Amount() if self.retained is None else self.retained.versions

    def note(self, error: StorageError) -> None:
        """Tell what the store refused."""
        self.is_complete = False
        if len(self.failures) < MAX_EXAMPLES:
            self.failures.append(f"[{error.error_code}] {error.message}")
