"""Where one scene stands, told in plain Python, and what people and editors do to it.

Belongs here: its rows, versions and requests, and changes that no run makes. Does not belong here:
what a run makes of it (`scene_model`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from scene_pipeline_tests.scene_facts import (
    TERMINAL,
    Charge,
    Content,
    Library,
    Look,
    Offer,
    Request,
    Row,
    Verdict,
    Wish,
)


@dataclass(slots=True)
class SceneStanding:
    """One scene, but for what runs make of it."""

    id: str
    prompt: str | None
    """None where the document does not have it."""
    library: Library = field(default_factory=Library)
    asset: str | None = None
    """The asset that its entry names."""
    rows: list[Row] = field(default_factory=list)
    frames: list[Row] = field(default_factory=list)
    """What each version was made by, from version 1."""
    now: int | None = None
    """The current version."""
    shown: str | None = None
    """The picture whose address the document has; after a new name that may be another's."""
    requests: list[Request] = field(default_factory=list)
    is_locked: bool = False
    answers: dict[str, Row] = field(default_factory=dict)
    """What an order was answered by where that was made for another one, by the order's token."""
    retired_at: int = 0
    """When it was found gone, counted in looks at the document; 0 where it was not."""
    look_for_offer: Callable[[], Offer | None] = lambda: None
    """What another scene left to it, by the time that a run plans it."""
    _births: int = 0

    @property
    def current(self) -> Row | None:
        """What the current version was made by."""
        return None if self.now is None else self.frames[self.now - 1]

    @property
    def open_row(self) -> Row | None:
        """The one that is not finished."""
        return next((row for row in self.rows if row.state not in TERMINAL), None)

    @property
    def content(self) -> Content:
        """What the document says that decides its picture, with the asset's bytes of today."""
        named = self.asset
        return self.prompt, None if named is None else (named, self.library.digests[named])

    @property
    def pictures(self) -> list[str]:
        """Which stored picture each version is: one that was taken over is the giver's."""
        return [
            row.offer.picture if row.offer else f"{self.id}, version {version}"
            for version, row in enumerate(self.frames, 1)
        ]

    @property
    def picture(self) -> str | None:
        """That of the current version."""
        return None if self.now is None else self.pictures[self.now - 1]

    def look(self) -> Look:
        """How it should look at this moment."""
        return Look(
            tuple(
                sorted(
                    (
                        r.prompt,
                        r.picture[1] if r.picture else "",
                        r.wish.suffix,
                        r.wish.candidates,
                        r.token,
                        r.state,
                        r.paid,
                    )
                    for r in self.rows
                )
            ),
            tuple(
                (number, row.prompt, row.token, number == self.now, row.is_blank)
                for number, row in enumerate(self.frames, 1)
            ),
            max(
                (n for n, picture in enumerate(self.pictures, 1) if picture == self.shown),
                default=None,
            ),
            tuple(request.state for request in self.requests),
        )

    # ---- what people and editors do

    def ask(self, request_id: int, wish: Wish) -> None:
        """Ask for a new version; the same wish while the first is pending is one wish."""
        if all(r.state != "pending" or r.wish != wish for r in self.requests):
            self.requests.append(Request(request_id, wish))

    def cancel(self) -> None:
        """Another program takes the oldest wish back; what is under way for it goes on."""
        request = self._oldest("pending", "claimed")
        if request is not None:
            request.state = "failed"

    def resolve(self, row: Row, verdict: Verdict) -> None:
        """A person decides about a request that nobody knows the fate of."""
        row.may_repeat = verdict == "pay_again"
        if verdict == "not_charged":
            row.state = "planned"
        elif verdict == "abandon":
            self._fail(row, "unknown")

    def promote(self, version: int) -> bool:
        """Make an old version the current one; False where that is refused."""
        row = self.frames[version - 1]
        if not row.is_blank:
            self.now = version
        return not row.is_blank

    # ---- what both need

    def _is_kept(self) -> bool:
        return self.is_locked and self.current is not None

    def _oldest(self, *states: str) -> Request | None:
        return next((r for r in self.requests if r.state in states), None)

    def _birth(self) -> int:
        self._births += 1
        return self._births

    def _plan_again(self, row: Row) -> None:
        row.state, row.age, row.charge = "planned", self._birth(), None
        for request in self.requests:
            if request.row is row and request.state == "failed":
                request.state = "claimed"

    def _fail(self, row: Row, charge: Charge, *, is_retryable: bool = False) -> str:
        row.state, row.charge, row.is_retryable = "failed", charge, is_retryable
        self._finish_requests(row, "failed")
        return "failed"

    def _finish_requests(self, row: Row, state: str) -> None:
        for request in self.requests:
            if request.row is row and request.state == "claimed":
                request.state = state
