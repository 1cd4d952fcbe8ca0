"""What the model of a scene is made of: orders, wishes, rows, versions, and what lies outside.

Belongs here: plain values, and what is the same for all scenes of a film. Does not belong here:
what becomes of a scene (`scene_model`).
"""

from dataclasses import dataclass, field
from typing import Literal

from scene_pipeline_tests.standins.scripted_provider import Fault

Charge = Literal["charged", "not_charged", "unknown"]
Verdict = Literal["pay_again", "not_charged", "abandon"]
TERMINAL = ("published", "superseded", "failed", "abandoned")
MAX_UNCHARGED_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants otherwise than the document says."""

    suffix: str = ""
    """Words that are added to the prompt."""
    candidates: int = 1
    """Pictures that one request is to make."""

    def over(self, other: "Wish") -> "Wish":
        """Both, and this one where they differ."""
        count = self.candidates if self.candidates > 1 else other.candidates
        return Wish(self.suffix or other.suffix, count)


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is asked for."""

    regenerate: bool = False
    token: str = ""
    refresh_stale: bool = False
    wish: Wish = Wish()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong during a run."""

    fault: Fault = "none"
    is_history_down: bool = False
    """Whether nobody can look up what became of a request."""
    refused_at: int | None = None
    """The payment that a cap holds back, counted from 0; None where none is."""


Picture = tuple[str, str]
"""What a scene goes by: the asset that it names, and the digest of its bytes."""


Content = tuple[str | None, Picture | None]
"""What decides a scene's picture: its words, and what it goes by."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A version that another scene can have for nothing."""

    giver: str
    """The scene whose version it is."""
    picture: str
    """Which stored picture, by the version that it was made for."""
    suffix: str
    """Words that it was made with beside the document's."""


@dataclass(slots=True)
class Library:
    """The pictures that the document's scenes may name."""

    digests: dict[str, str] = field(default_factory=dict)
    """Of each asset's bytes, those of deleted ones too."""
    deleted: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    """Assets that the document names anywhere."""
    collected: set[str] = field(default_factory=set)
    """Digests whose bytes are gone for good."""

    def __deepcopy__(self, _memo: object) -> "Library":
        """There is one, whatever becomes of a scene."""
        return self

    def is_there(self, picture: Picture | None) -> bool:
        """Whether it may be sent: its asset is not deleted."""
        return picture is None or picture[0] not in self.deleted

    def is_same(self, picture: Picture | None) -> bool:
        """Whether it still is what its name means."""
        if picture is None:
            return True
        asset_id, digest = picture
        is_known = asset_id in self.named and self.is_there(picture)
        return is_known and self.digests[asset_id] == digest


@dataclass(slots=True, eq=False)
class Row:
    """One thing worth paying for."""

    prompt: str
    picture: Picture | None
    token: str
    wish: Wish
    age: int
    state: str = "planned"
    paid: int = 0
    """How often the service has charged for it, and not given it back."""
    may_repeat: bool = False
    """Whether a person permits another request although the first may have been accepted."""
    charge: Charge | None = None
    is_retryable: bool = False
    is_blank: bool = False
    version: int | None = None
    """The first one that it was recorded as."""
    offer: Offer | None = None
    """What stands in for a new picture."""

    @property
    def digest(self) -> str:
        """Of what it goes by; empty where that is nothing."""
        return self.picture[1] if self.picture else ""

    @property
    def content(self) -> Content:
        """What decides its picture."""
        return self.prompt, self.picture


@dataclass(slots=True, eq=False)
class Request:
    """Somebody asked for a new version."""

    id: int
    wish: Wish
    state: str = "pending"
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that can be seen of a scene from outside."""

    rows: tuple[tuple[str, str, str, int, str, str, int], ...]
    """Prompt, digest of its reference, wish, token, state and charges of each generation."""
    versions: tuple[tuple[int, str, str, bool, bool], ...]
    """Number, prompt, token, whether current, whether rejected."""
    shown: int | None
    """The version that the document points to."""
    requests: tuple[str, ...]
    """States of the regeneration requests, in the order in which they were made."""
