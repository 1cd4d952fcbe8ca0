"""What one scene should look like, told in plain Python: the oracle of the state machine.

Belongs here: the promises, as a walk through the states that a run commits one after the other.
Does not belong here: a database, or a line of the code under test.

A run is a generator that stops at every commit and at every failpoint. A clean run must leave a
scene as the last stop shows it, a run that fails at a named place as that stop does, and a run that
was cut off anywhere as one of the stops does.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

from scene_pipeline_tests.standins.scripted_provider import Fault

Charge = Literal["charged", "not_charged"]
TERMINAL = ("published", "superseded", "failed", "abandoned")
MAX_UNCHARGED_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is asked for."""

    regenerate: bool = False
    token: str = ""
    refresh_stale: bool = False
    suffix: str = ""
    """Words that the order adds to every prompt."""


Picture = tuple[str, str]
"""What a scene goes by: the asset that it names, and the digest of its bytes."""


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
    suffix: str
    age: int
    state: str = "planned"
    paid: int = 0
    charge: Charge | None = None
    is_retryable: bool = False
    is_blank: bool = False
    version: int | None = None

    @property
    def digest(self) -> str:
        """Of what it goes by; empty where that is nothing."""
        return self.picture[1] if self.picture else ""

    @property
    def content(self) -> tuple[str | None, Picture | None]:
        """What decides its picture."""
        return self.prompt, self.picture


@dataclass(slots=True, eq=False)
class Request:
    """Somebody asked for a new version."""

    id: int
    suffix: str
    state: str = "pending"
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that can be seen of a scene from outside."""

    rows: tuple[tuple[str, str, str, str, str, int], ...]
    """Prompt, digest of its reference, suffix, token, state and charges of each generation."""
    versions: tuple[tuple[int, str, str, bool, bool], ...]
    """Number, prompt, token, whether current, whether rejected."""
    shown: int | None
    """The version that the document points to."""
    requests: tuple[str, ...]
    """States of the regeneration requests, in the order in which they were made."""


Stops = Generator[str, None, str]
"""Yields where a run may be cut off; returns the scene's status."""


@dataclass(slots=True)
class SceneModel:
    """One scene."""

    prompt: str | None
    """None where the document does not have it."""
    library: Library = field(default_factory=Library)
    asset: str | None = None
    """The asset that its entry names."""
    rows: list[Row] = field(default_factory=list)
    frames: list[Row] = field(default_factory=list)
    """What each version was made by, from version 1."""
    current: Row | None = None
    shown: int | None = None
    requests: list[Request] = field(default_factory=list)
    is_locked: bool = False
    answers: dict[str, Row] = field(default_factory=dict)
    """What an order was answered by where that was made for another one, by the order's token."""
    _births: int = 0

    @property
    def content(self) -> tuple[str | None, Picture | None]:
        """What the document says that decides its picture, with the asset's bytes of today."""
        named = self.asset
        return self.prompt, None if named is None else (named, self.library.digests[named])

    def look(self) -> Look:
        """How it should look at this moment."""
        return Look(
            tuple(
                sorted(
                    (
                        r.prompt,
                        r.picture[1] if r.picture else "",
                        r.suffix,
                        r.token,
                        r.state,
                        r.paid,
                    )
                    for r in self.rows
                )
            ),
            tuple(
                (number, row.prompt, row.token, row is self.current, row.is_blank)
                for number, row in enumerate(self.frames, 1)
            ),
            self.shown,
            tuple(request.state for request in self.requests),
        )

    # ---- what people and editors do

    def ask(self, request_id: int, suffix: str) -> None:
        """Ask for a new version; the same wish while the first is pending is one wish."""
        if all(r.state != "pending" or r.suffix != suffix for r in self.requests):
            self.requests.append(Request(request_id, suffix))

    def promote(self, version: int) -> bool:
        """Make an old version the current one; False where that is refused."""
        row = self.frames[version - 1]
        if not row.is_blank:
            self.current = row
        return not row.is_blank

    # ---- what a run does

    def run(self, order: Order, fault: Fault) -> Stops:
        """Walk through one run."""
        yield "before_plan"
        planned = self._plan(order)
        is_here = self.prompt is not None
        if (
            order.regenerate
            and is_here
            and isinstance(planned, Row)
            and planned.token != order.token
        ):
            self.answers[order.token] = planned
        yield "after_plan"
        if isinstance(planned, Row):
            return (yield from self._make(planned, fault))
        if planned != "republish":
            return planned
        yield "before_publish"
        assert self.current is not None
        self.shown = self.current.version
        yield "after_publish"
        return "kept"

    def _plan(self, order: Order) -> Row | str:
        row = next((row for row in self.rows if row.state not in TERMINAL), None)
        is_unsent = row is not None and row.state == "planned"
        if row is not None and not (is_unsent and (self.prompt is None or self._is_kept())):
            return row if self.prompt is None else self._resume(order, row)
        if self.prompt is None or self._is_kept():
            return "invalid" if self.prompt is None else self._keep_locked(row)
        if order.regenerate or self._oldest("pending") is not None:
            return self._generate(order)
        free = self._for_nothing()
        if free is not None:
            return free
        if self.current is not None and not order.refresh_stale:
            return "stale"
        return "failed" if self._has_failed_for_good() else self._generate(order)

    def _is_kept(self) -> bool:
        return self.is_locked and self.current is not None

    def _keep_locked(self, unsent: Row | None) -> str:
        """What was not sent before the lock came is given up, and who asked for it is told."""
        if unsent is not None:
            unsent.state = "abandoned"
            self._finish_requests(unsent, "failed")
        assert self.current is not None
        return "kept" if self.shown == self.current.version else "republish"

    def _resume(self, order: Order, row: Row) -> Row | str:
        """Go on with what is open; what was never sent follows the last word."""
        claim = next((r for r in self.requests if r.row is row and r.state == "claimed"), None)
        wish = claim or self._oldest("pending")
        suffix = self._wishes_of(order, row) or (wish.suffix if wish else "")
        if row.state == "planned" and (row.content, row.suffix) != (self.content, suffix):
            row.state = "abandoned"
            if (
                _is_unasked(row)
                and not order.regenerate
                and self._oldest("pending", "claimed") is None
            ):
                free = self._for_nothing()
                if free is not None:
                    return free
            return self._generate(order, token=row.token, suffix=suffix)
        oldest = self._oldest("pending", "claimed")
        is_plain = oldest is not None and oldest.state == "pending" and not oldest.suffix
        if is_plain and oldest is not None and row.content == self.content:
            oldest.state, oldest.row = "claimed", row
        return row

    def _wishes_of(self, order: Order, row: Row) -> str:
        """What holds of the orders: the newest that says something, or what was asked for first."""
        is_silent = not order.regenerate and self._oldest("pending") is None
        return row.suffix if is_silent and not _is_unasked(row) else order.suffix

    def _for_nothing(self) -> str | None:
        """The current version where it is of what the document says, else the newest such."""
        if self.current is not None and self.current.content == self.content:
            return "kept" if self.shown == self.current.version else "republish"
        own = [row for row in self.frames if row.content == self.content and not row.is_blank]
        if not own:
            return None
        self.current = own[-1]
        return "republish"

    def _has_failed_for_good(self) -> bool:
        last = max(self.rows, key=lambda row: row.age, default=None)
        return (
            last is not None
            and last.state == "failed"
            and last.content == self.content
            and last.charge != "not_charged"
            and not last.is_retryable
        )

    def _oldest(self, *states: str) -> Request | None:
        return next((r for r in self.requests if r.state in states), None)

    def _generate(
        self, order: Order, token: str | None = None, suffix: str | None = None
    ) -> Row | str:
        answer = self.answers.get(order.token) if order.regenerate else None
        if token is None and answer is not None and answer.content == self.content:
            return self._again(order, answer)
        request = self._oldest("pending", "claimed")
        if token is None:
            token = f"request:{request.id}" if request else order.token
        if suffix is None:
            suffix = order.suffix or (request.suffix if request else "")
        row = self._row(token, suffix) or self._new(token, suffix)
        planned = row if row.state == "planned" else self._again(order, row)
        if not isinstance(planned, Row) and request and token != f"request:{request.id}":
            return self._generate(order)  # that was no answer to a wish that came after it
        if isinstance(planned, Row) and request is not None:
            request.state, request.row = "claimed", planned
        return planned

    def _row(self, token: str, suffix: str) -> Row | None:
        wanted = (self.content, token, suffix)
        return next((r for r in self.rows if (r.content, r.token, r.suffix) == wanted), None)

    def _new(self, token: str, suffix: str) -> Row:
        assert self.prompt is not None
        row = Row(self.prompt, self.content[1], token, suffix, self._birth())
        self.rows.append(row)
        return row

    def _birth(self) -> int:
        self._births += 1
        return self._births

    def _again(self, order: Order, row: Row) -> Row | str:
        """Exactly this was planned before."""
        if row.state == "abandoned" or row.charge == "not_charged":
            self._plan_again(row)
            return row
        if row.state == "failed" and not order.regenerate:
            paid = sum(
                r.content == row.content and r.state == "failed" and r.charge == "charged"
                and (r.token == "" or r.token.startswith("attempt:"))
                for r in self.rows
            )  # fmt: skip
            token = f"attempt:{paid}"
            known = self._row(token, row.suffix)
            return self._again(order, known) if known else self._new(token, row.suffix)
        if row.version is None or row.is_blank:
            return "failed"
        now = self.current
        if now is not None and (
            (order.regenerate and row.state == "published")
            or (now.content == self.content and now.age > row.age)
        ):
            return "republish"  # what came after it stays
        self.current = row
        return "republish"

    def _plan_again(self, row: Row) -> None:
        row.state, row.age, row.charge = "planned", self._birth(), None
        for request in self.requests:
            if request.row is row and request.state == "failed":
                request.state = "claimed"

    def _make(self, row: Row, fault: Fault) -> Stops:
        if row.state in ("planned", "submitting", "submitted"):
            status = yield from self._pay(row, fault)
            if status is not None:
                return status
        if row.state == "completed":
            if fault == "picture_expired":
                return self._fail(row, "charged")
            if fault == "picture_unavailable":
                return "failed"
            row.is_blank = fault == "blank"
            yield from ("after_download", "after_inspect", "after_intent", "after_upload")
            row.state = "stored"
            yield "after_stored"
        if row.state == "stored":
            status = self._record(row)
            yield "after_recorded"
            if status is not None:
                return status
        yield "before_publish"
        is_due = row is self.current and row.prompt == self.prompt
        row.state = "published" if is_due else "superseded"
        self._finish_requests(row, "done")
        if is_due:
            self.shown = row.version
        yield "after_publish"
        return "generated" if is_due else "stale"

    def _pay(self, row: Row, fault: Fault) -> Generator[str, None, str | None]:
        """Bring a row to `completed`, or return how the run ends for it."""
        refusals = 0
        is_struck = False
        if row.state == "planned" and not self.library.is_there(row.picture):
            return "blocked"
        while row.state != "completed":
            status = self._withheld(row) if row.state == "planned" else None
            if status is not None:
                return status
            if row.state == "planned":
                status = yield from self._submit(row, "none" if is_struck else fault)
                is_struck = is_struck or fault in (
                    "lost_after_acceptance",
                    "lost_before_acceptance",
                )
                refusals += fault == "too_busy"
                if refusals == MAX_UNCHARGED_ATTEMPTS:
                    return "failed"
            elif row.state == "submitting":
                status = "ambiguous" if fault == "lost_and_history_down" else None
                if status is None:
                    row.state = "submitted" if row.paid else "planned"
                    yield "reconciled"
            else:
                status = yield from self._poll(row, "none" if is_struck else fault)
                is_struck = is_struck or fault == "dies_uncharged"
            if status is not None:
                return status
        return None

    def _withheld(self, row: Row) -> str | None:
        """Why nothing is paid at the last moment, after the picture was read; None where it is."""
        if row.picture is not None and row.picture[1] in self.library.collected:
            return "failed"
        if row.prompt != self.prompt or self._is_kept():
            return "stale"  # it has changed since
        return None if self.library.is_same(row.picture) else "blocked"

    def _submit(self, row: Row, fault: Fault) -> Generator[str, None, str | None]:
        row.state = "submitting"
        yield "after_permit"
        yield "before_post"
        if fault == "refused":
            return self._fail(row, "not_charged")
        if fault == "too_busy":
            row.state = "planned"
            yield "unsent"
            return None
        if fault == "lost_before_acceptance":
            return None
        row.paid += 1
        yield "after_post"
        if fault in ("lost_after_acceptance", "lost_and_history_down"):
            return None
        row.state = "submitted"
        yield "after_submitted"
        return None

    def _poll(self, row: Row, fault: Fault) -> Generator[str, None, str | None]:
        yield "while_polling"
        if fault == "does_not_answer":
            return "failed"
        if fault in ("dies_charged", "dies_for_good"):
            return self._fail(row, "charged", is_retryable=fault == "dies_charged")
        if fault == "dies_uncharged":
            row.paid -= 1
            yield "died"
            self._fail(row, "not_charged", is_retryable=True)
            yield "failed"
            self._plan_again(row)
            yield "planned again"
            return None
        yield "after_result"
        row.state = "completed"
        yield "after_completed"
        return None

    def _record(self, row: Row) -> str | None:
        self.frames.append(row)
        row.version = len(self.frames)
        if row.is_blank:
            return self._fail(row, "charged")
        is_late = any(other.age > row.age and not other.is_blank for other in self.frames)
        if is_late or row.prompt != self.prompt or self._is_kept():
            row.state = "superseded"
            self._finish_requests(row, "done")
            return "stale"
        row.state, self.current = "recorded", row
        return None

    def _fail(self, row: Row, charge: Charge, *, is_retryable: bool = False) -> str:
        row.state, row.charge, row.is_retryable = "failed", charge, is_retryable
        self._finish_requests(row, "failed")
        return "failed"

    def _finish_requests(self, row: Row, state: str) -> None:
        for request in self.requests:
            if request.row is row and request.state == "claimed":
                request.state = state


def _is_unasked(row: Row) -> bool:
    """Whether it is a first frame, which is made for want of one."""
    return row.token == "" or row.token.startswith("attempt:")
