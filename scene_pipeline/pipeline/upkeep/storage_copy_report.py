"""What a copy of the library to another store is told in: the values of `storage_copy`.

Belongs here: values. Does not belong here: the work.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from scene_pipeline.database.collection import Amount
from scene_pipeline.pipeline.orders import Failure, SceneRef
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.base import ObjectStore

CopySide = Literal["source", "target", "here"]
"""Where it failed. source: the bytes are not to be had, so that no copy can be made of them.
target: the other store refused. here: this machine could not keep them meanwhile."""

CopyStep = Literal["copying", "verifying", "correcting"]

AddressState = Literal["corrected", "held_back", "wait_for_switch"]
"""corrected: rows and documents hold the new store's addresses. held_back: not everything that
could be copied is there yet, or readers would not see it. wait_for_switch: the new addresses are
our own server's, which shows the configured store, so they are written once that is the new one."""


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """The store that a library is brought to."""

    store: ObjectStore
    identity: str
    """Which store it is, without credentials (`storage.registry.store_identity`)."""
    server_url: str
    """Of our own server, as the target's settings have it."""
    is_configured: bool
    """Whether it is the store in use: nothing is copied then, only addresses are corrected."""
    reader: AnonymousReader | None = None
    """Asks for what was copied, before its addresses are written; None where they are trusted."""


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """An object that is not in the other store as it should be."""

    key: str
    side: CopySide
    failure: Failure


@dataclass(frozen=True, slots=True)
class DocumentDrift:
    """A document that holds another address than its current version had; it was left alone."""

    scene: SceneRef
    version: int


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is."""

    doing: CopyStep
    done: Amount
    """Objects that were dealt with in this step; while copying, with those of earlier calls."""
    total: Amount
    failures: int


@dataclass
class CopyReport:
    """What a copy did, and what is left."""

    present: Amount = field(default_factory=Amount)
    """All objects of the register when it ended."""
    copied: Amount = field(default_factory=Amount)
    """Of them, what is in the other store."""
    sent: Amount = field(default_factory=Amount)
    """What this call sent."""
    found: Amount = field(default_factory=Amount)
    """What this call found there already, and compared."""
    verified: int = 0
    """Objects that were read back from the other store and had the right bytes."""
    failures: list[CopyFailure] = field(default_factory=list)
    """At most `storage_copy.MAX_FAILURES`."""
    given_up: Failure | None = None
    """Why the rest was not tried; None where everything was."""
    addresses: AddressState = "held_back"
    moved: Counter[str] = field(default_factory=Counter)
    """Rows whose address was corrected, by table, and "documents": scenes in documents."""
    waiting_addresses: int = 0
    unreadable: Failure | None = None
    """Why readers would not see what is in the other store, so that no address was written."""
    unseen: str | None = None
    """Why our own server does not show it now, in words; no address is held back for that."""
    drifts: list[DocumentDrift] = field(default_factory=list)
    """At most `storage_copy_addresses.MAX_DRIFTS`."""
    named_elsewhere: list[str] = field(default_factory=list)
    """Projects whose documents hold addresses of the library's files in another store; at most
    `storage_copy_addresses.MAX_DRIFTS`."""
    is_settled: bool = True
    """False where new objects kept coming in for as long as it worked."""

    @property
    def is_complete(self) -> bool:
        """Whether everything is there, and addresses are right or only wait for the switch."""
        return (
            not self.failures
            and self.given_up is None
            and self.is_settled
            and self.addresses != "held_back"
        )
