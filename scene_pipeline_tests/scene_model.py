"""What one scene should look like, told in plain Python: the oracle of the state machine.

Belongs here: the promises, as a walk through the states that a run commits one after the other.
Does not belong here: a database, or a line of the code under test.

A run is a generator that stops at every commit and at every failpoint. A clean run must leave a
scene as the last stop shows it, a run that fails at a named place as that stop does, and a run that
was cut off anywhere as one of the stops does.
"""

from collections.abc import Generator
from dataclasses import dataclass

from scene_pipeline_tests.scene_facts import (
    MAX_UNCHARGED_ATTEMPTS,
    Offer,
    Order,
    Row,
    Trouble,
    Wish,
)
from scene_pipeline_tests.scene_standing import SceneStanding
from scene_pipeline_tests.standins.scripted_provider import Fault

Stops = Generator[str, None, str]
"""Yields where a run may be cut off; returns the scene's status."""


@dataclass(slots=True)
class SceneModel(SceneStanding):
    """One scene, and what a run does."""

    def run(self, order: Order, trouble: Trouble) -> Stops:
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
            return (yield from self._make(planned, trouble))
        if planned != "republish":
            return planned
        yield "before_publish"
        self.shown = self.picture
        yield "after_publish"
        return "kept"

    def _plan(self, order: Order) -> Row | str:
        row = self.open_row
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

    def _keep_locked(self, unsent: Row | None) -> str:
        """What was not sent before the lock came is given up, and who asked for it is told."""
        if unsent is not None:
            unsent.state = "abandoned"
            self._finish_requests(unsent, "failed")
        return "kept" if self.shown == self.picture else "republish"

    def _resume(self, order: Order, row: Row) -> Row | str:
        """Go on with what is open; what was never sent follows the last word."""
        claim = next((r for r in self.requests if r.row is row and r.state == "claimed"), None)
        request = claim or self._oldest("pending")
        wish = self._wishes_of(order, row).over(request.wish if request else Wish())
        if row.state == "planned" and (row.content, row.wish) != (self.content, wish):
            row.state = "abandoned"
            if (
                _is_unasked(row)
                and not order.regenerate
                and self._oldest("pending", "claimed") is None
            ):
                free = self._for_nothing()
                if free is not None:
                    return free
            return self._generate(order, token=row.token, wish=wish)
        oldest = self._oldest("pending", "claimed")
        is_plain = oldest is not None and oldest.state == "pending" and oldest.wish == Wish()
        if is_plain and oldest is not None and row.content == self.content:
            oldest.state, oldest.row = "claimed", row
        return row

    def _wishes_of(self, order: Order, row: Row) -> Wish:
        """What holds of the orders: the newest that says something, or what was asked for first."""
        is_silent = not order.regenerate and self._oldest("pending") is None
        return row.wish if is_silent and not _is_unasked(row) else order.wish

    def _for_nothing(self) -> Row | str | None:
        """The current version if it is of what the document says, the newest such, or an offer."""
        if self.current is not None and self.current.content == self.content:
            return "kept" if self.shown == self.picture else "republish"
        own = [
            version
            for version, row in enumerate(self.frames, 1)
            if row.content == self.content and not row.is_blank
        ]
        if not own:
            offer = self.look_for_offer()
            return None if offer is None else self._take_over(offer)
        self.now = own[-1]
        return "republish"

    def _take_over(self, offer: Offer) -> Row:
        row = self._new("reuse", Wish(offer.suffix))
        row.state, row.offer = "stored", offer
        return row

    def _has_failed_for_good(self) -> bool:
        last = max(self.rows, key=lambda row: row.age, default=None)
        return (
            last is not None
            and last.state == "failed"
            and last.content == self.content
            and last.charge != "not_charged"
            and not last.is_retryable
        )

    def _generate(
        self, order: Order, token: str | None = None, wish: Wish | None = None
    ) -> Row | str:
        answer = self.answers.get(order.token) if order.regenerate else None
        if token is None and answer is not None and answer.content == self.content:
            return self._again(order, answer)
        request = self._oldest("pending", "claimed")
        if token is None:
            token = f"request:{request.id}" if request else order.token
        if wish is None:
            wish = order.wish.over(request.wish if request else Wish())
        row = self._row(token, wish) or self._new(token, wish)
        planned = row if row.state == "planned" else self._again(order, row)
        if not isinstance(planned, Row) and request and token != f"request:{request.id}":
            return self._generate(order)  # that was no answer to a wish that came after it
        if isinstance(planned, Row) and request is not None:
            request.state, request.row = "claimed", planned
        return planned

    def _row(self, token: str, wish: Wish) -> Row | None:
        wanted = (self.content, token, wish)
        return next((r for r in self.rows if (r.content, r.token, r.wish) == wanted), None)

    def _new(self, token: str, wish: Wish) -> Row:
        assert self.prompt is not None
        row = Row(self.prompt, self.content[1], token, wish, self._birth())
        self.rows.append(row)
        return row

    def _again(self, order: Order, row: Row) -> Row | str:
        """Exactly this was planned before."""
        if row.state == "abandoned" or row.charge == "not_charged":
            self._plan_again(row)
            return row
        if row.state == "failed" and not order.regenerate:
            paid = sum(
                r.content == row.content and r.state == "failed" and r.charge != "not_charged"
                and (r.token == "" or r.token.startswith("attempt:"))
                for r in self.rows
            )  # fmt: skip
            token = f"attempt:{paid}"
            known = self._row(token, row.wish)
            return self._again(order, known) if known else self._new(token, row.wish)
        if row.version is None or row.is_blank:
            return "failed"
        now = self.current
        if now is row:
            return "republish"  # whichever of its pictures that is
        if now is not None and (
            (order.regenerate and row.state == "published")
            or (now.content == self.content and now.age > row.age)
        ):
            return "republish"  # what came after it stays
        self.now = row.version
        return "republish"

    def _make(self, row: Row, trouble: Trouble) -> Stops:
        fault = trouble.fault
        if row.state in ("planned", "submitting", "submitted"):
            status = yield from self._pay(row, trouble)
            if status is not None:
                return status
        if row.state == "completed":
            if fault == "picture_expired":
                return self._fail(row, "charged")
            if fault == "picture_unavailable":
                return "failed"
            row.is_blank = fault == "blank" and row.wish.candidates == 1
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
            self.shown = self.picture
        yield "after_publish"
        if not is_due:
            return "stale"
        return "generated" if row.offer is None else "kept"

    def _pay(self, row: Row, trouble: Trouble) -> Generator[str, None, str | None]:
        """Bring a row to `completed`, or return how the run ends for it."""
        fault = trouble.fault
        is_history_down = trouble.is_history_down or fault == "lost_and_history_down"
        refusals = payments = 0
        is_struck = False
        if row.state == "planned" and not self.library.is_there(row.picture):
            return "blocked"
        while row.state != "completed":
            status: str | None = None
            if row.state == "submitting" and not is_history_down:
                row.state, row.may_repeat = ("submitted" if row.paid else "planned"), False
                yield "reconciled"
            elif row.state == "submitting" and not row.may_repeat:
                return "ambiguous"
            elif row.state in ("planned", "submitting"):
                status = self._withheld(row)
                if status is None and payments == trouble.refused_at:
                    status = "blocked"
                if status is not None:
                    return status
                payments += 1
                status = yield from self._submit(row, "none" if is_struck else fault)
                is_struck = is_struck or fault in (
                    "lost_after_acceptance",
                    "lost_before_acceptance",
                )
                refusals += fault == "too_busy"
                if refusals == MAX_UNCHARGED_ATTEMPTS:
                    return "failed"
            else:
                status = yield from self._poll(row, "none" if is_struck else fault)
                is_struck = is_struck or fault == "dies_uncharged"
            if status is not None:
                return status
        return None

    def _withheld(self, row: Row) -> str | None:
        """Why nothing is paid at the last moment, after the picture was read; None where it is."""
        if row.picture is not None and row.picture[1] in self.library.collected:
            return "failed" if row.state == "planned" else "blocked"
        if row.prompt != self.prompt or self._is_kept():
            return "stale" if row.state == "planned" else "ambiguous"  # it has changed since
        return None if self.library.is_same(row.picture) else "blocked"

    def _submit(self, row: Row, fault: Fault) -> Generator[str, None, str | None]:
        row.state, row.may_repeat = "submitting", False
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
        row.version = len(self.frames) + 1
        self.frames += [row] * row.wish.candidates
        if row.is_blank:
            return self._fail(row, "charged")
        is_late = any(other.age > row.age and not other.is_blank for other in self.frames)
        if is_late or row.prompt != self.prompt or self._is_kept():
            row.state = "superseded"
            self._finish_requests(row, "done")
            return "stale"
        row.state, self.now = "recorded", row.version
        return None


def _is_unasked(row: Row) -> bool:
    """Whether it is a first frame, which is made for want of one."""
    return row.token == "" or row.token.startswith("attempt:")
