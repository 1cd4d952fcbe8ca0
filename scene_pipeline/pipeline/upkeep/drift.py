"""What drift is and how it is told: the values of `pipeline.upkeep.reconcile`.

Belongs here: kinds, findings, the report, and what the checks of one project share. Does not belong
here: the checks.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from scene_pipeline.database.events import append_event
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.database.rows import ProjectRow
from scene_pipeline.pipeline.orders import Failure, SceneRef
from scene_pipeline.pipeline.services import Services

PAGE_SIZE = 500
MAX_ROWS = 5000
"""Rows of a kind that are looked at per project and call, where they are drift by themselves."""

DriftKind = Literal[
    "unpublished",
    "document_url",
    "foreign_url",
    "object_row",
    "object_gone",
    "object_damaged",
]
"""unpublished: a version was recorded and never written into the document. document_url: the
document has no URL, or an old one of ours, where a current version fits. foreign_url: the document
has a URL that is none of ours. object_row: a version's object is not counted or not marked present.
object_gone: a current version's object is not in the store. object_damaged: it has other bytes."""

DriftStatus = Literal["found", "repaired", "told", "failed"]
"""found: `apply` would repair it. repaired: it is right now. told: only a person can settle it.
failed: the repair did not succeed this time."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about."""

    kind: DriftKind
    scene_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Drift:
    """One disagreement."""

    kind: DriftKind
    scene: SceneRef
    version: int
    """The version that it is about."""
    status: DriftStatus
    message: str
    """What disagrees with what, in one sentence."""
    next_action: str


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What was found, and done about it."""

    is_applied: bool
    drifts: tuple[Drift, ...] = ()
    versions_checked: int = 0
    objects_checked: int = 0
    store_failure: Failure | None = None
    """Why objects could not be looked at any further."""
    is_complete: bool = True
    """Whether everything was looked at."""

    def count(self, status: DriftStatus) -> int:
        """How many findings ended so."""
        return sum(drift.status == status for drift in self.drifts)

    @property
    def is_clean(self) -> bool:
        """Whether all was looked at and nothing is left to be done."""
        return self.is_complete and all(drift.status == "repaired" for drift in self.drifts)


@dataclass
class ProjectCheck:
    """One project's check: what it works with, and what it found so far."""

    services: Services
    locks: GenerationLocks
    project: ProjectRow
    apply: bool
    transfers: asyncio.Semaphore
    """Bounds questions to the store, downloads and uploads."""
    decodes: asyncio.Semaphore
    store_failure: Failure | None = None
    drifts: list[Drift] = field(default_factory=list)
    versions_checked: int = 0
    objects_checked: int = 0

    def find(
        self, subject: Subject, status: DriftStatus, message: str, next_action: str | None = None
    ) -> None:
        """Add a finding."""
        if next_action is None:
            next_action = {
                "found": "Run `scene-pipeline reconcile --apply` to repair it.",
                "repaired": "Nothing is left to be done.",
            }.get(status, "Run `scene-pipeline reconcile --apply` again.")
        scene = SceneRef(self.project.key, subject.scene_id)
        self.drifts.append(
            Drift(subject.kind, scene, subject.version, status, message, next_action)
        )

    async def repaired(self, subject: Subject, message: str) -> None:
        """Add a finding that is settled, and tell it in the feed of events."""
        self.find(subject, "repaired", message)
        async with self.services.pool.connection() as conn:
            await append_event(
                conn,
                "drift_repaired",
                project_id=self.project.id,
                scene_id=subject.scene_id,
                data={"kind": subject.kind, "version": subject.version},
            )
