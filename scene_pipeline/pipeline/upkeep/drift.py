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
LibraryDriftKind = Literal[
    "reference_count",
    "asset_object_row",
    "asset_object_gone",
    "asset_object_damaged",
    "asset_url",
    "derivative_gone",
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

    @property
    def name(self) -> str:
        """What it is about, for people."""
        return f"{self.scene.project_key}/{self.scene.scene_id}"


@dataclass(frozen=True, slots=True)
class LibraryDrift:
    """One disagreement about what is stored, of no single scene.

    reference_count: an object is counted otherwise than rows refer to it. asset_object_row: an
    asset's object is not marked present. asset_object_gone: it is not in the store.
    asset_object_damaged: it has other bytes. asset_url: the asset's row has another address than
    the store. derivative_gone: a thumbnail or WebP is not in the store.
    """

    kind: LibraryDriftKind
    subject: str
    """The asset's id, or the object's storage key."""
    status: DriftStatus
    message: str
    next_action: str

    @property
    def name(self) -> str:
        """What it is about, for people."""
        return self.subject


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What was found, and done about it."""

    is_applied: bool
    drifts: tuple[Drift, ...] = ()
    library_drifts: tuple[LibraryDrift, ...] = ()
    versions_checked: int = 0
    objects_checked: int = 0
    store_failure: Failure | None = None
    """Why objects could not be looked at any further."""
    is_complete: bool = True
    """Whether everything was looked at."""

    @property
    def all_drifts(self) -> tuple[Drift | LibraryDrift, ...]:
        """Of scenes first, of the library afterwards."""
        return (*self.drifts, *self.library_drifts)

    def count(self, status: DriftStatus) -> int:
        """How many findings ended so."""
        return sum(drift.status == status for drift in self.all_drifts)

    @property
    def is_clean(self) -> bool:
        """Whether all was looked at and nothing is left to be done."""
        return self.is_complete and all(drift.status == "repaired" for drift in self.all_drifts)


def usual_action(status: DriftStatus) -> str:
    """What is to be done about a finding, where nothing in particular is."""
    return {
        "found": "Run `scene-pipeline reconcile --apply` to repair it.",
        "repaired": "Nothing is left to be done.",
    }.get(status, "Run `scene-pipeline reconcile --apply` again.")


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
        next_action = next_action or usual_action(status)
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


@dataclass
class LibraryCheck:
    """The check of everything that is stored: what it works with, and what it found so far."""

    services: Services
    apply: bool
    transfers: asyncio.Semaphore
    """Bounds questions to the store."""
    store_failure: Failure | None = None
    drifts: list[LibraryDrift] = field(default_factory=list)
    objects_checked: int = 0

    def find(
        self,
        kind: LibraryDriftKind,
        subject: str,
        status: DriftStatus,
        message: str,
        next_action: str | None = None,
    ) -> None:
        """Add a finding."""
        action = next_action or usual_action(status)
        self.drifts.append(LibraryDrift(kind, subject, status, message, action))

    async def repaired(self, kind: LibraryDriftKind, subject: str, message: str) -> None:
        """Add a finding that is settled, and tell it in the feed of events."""
        self.find(kind, subject, "repaired", message)
        async with self.services.pool.connection() as conn:
            await append_event(
                conn, "drift_repaired", project_id=None, data={"kind": kind, "subject": subject}
            )
