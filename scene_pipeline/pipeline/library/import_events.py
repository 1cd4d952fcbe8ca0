"""What an import tells while it works, and how it ended: plain values for every door."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.scenes.identity import AssetKind

ImportStatus = Literal["new", "duplicate", "failed", "waiting", "busy"]
"""new: it is in the library. duplicate: its bytes were there already. failed: for good. waiting: it
failed, and is tried again by itself. busy: another run is at it, or has settled it."""
UNFINISHED_IMPORTS: frozenset[ImportStatus] = frozenset({"failed", "waiting"})
"""Statuses that make a run end as a failure."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How much of one import has arrived."""

    import_id: UUID
    source: str
    """Address without its query, or what was uploaded."""
    bytes_received: int
    bytes_total: int | None
    """As the other side announced it."""


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of one import in one run."""

    import_id: UUID
    source: str
    kind: AssetKind
    status: ImportStatus
    asset_id: str | None = None
    url: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    again_in: timedelta | None = None
    """Until it is tried again by itself, where it is "waiting"."""


ImportEvent = ImportProgress | ImportOutcome
Tell = Callable[[ImportEvent], None]
"""Called in the loop's thread; must return at once."""
