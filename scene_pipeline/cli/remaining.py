"""How long the rest may take: only what was measured in this very command, or nothing.

Belongs here: evidence and the estimate that stands on it. Does not belong here: how it is drawn
(`cli.live_display`). Nothing is said before `LEAST_EVIDENCE` things have ended, while nothing is
being worked on (all wait in a queue), and once reality has contradicted what was said: its end has
passed, or nothing ended for much longer than anything took. The next thing that ends is evidence
for a new estimate.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from statistics import median

LEAST_EVIDENCE = 3
LEAST_SECONDS = 2.0
"""Of work that amounts are judged by: a shorter time says little about what follows."""
PATIENCE = 2.0
"""How many times the longest that was measured may pass without anything ending."""
MAX_MEASURED = 101
"""The last so many are judged by: what a service does now, rather than an hour ago."""


@dataclass(frozen=True, slots=True)
class _Forecast:
    """What was expected at one moment."""

    made_at: float
    seconds: float
    patience: float

    def left(self, now: float) -> float | None:
        age = now - self.made_at
        return None if age >= self.seconds or age > self.patience else self.seconds - age


class RemainingItems:
    """The rest of a number of things that are worked on side by side.

    From the median time of one, and from how many really were in work at once. Times are those of
    `time.monotonic`.

    Args:
        total: How many there are.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self._working: dict[Hashable, float] = {}
        self._measured: deque[float] = deque(maxlen=MAX_MEASURED)
        self._looked_at = 0.0
        self._busy_seconds = 0.0
        """The times of all things in work, together."""
        self._active_seconds = 0.0
        """The time in which anything was in work."""
        self._forecast: _Forecast | None = None

    def works(self, key: Hashable, now: float) -> None:
        """One is really being worked on; again and again for the same one is fine."""
        self._look(now)
        self._working.setdefault(key, now)

    def waits(self, key: Hashable, now: float) -> None:
        """One waits for its turn, also where it was worked on before."""
        self._look(now)
        self._working.pop(key, None)

    def ends(self, key: Hashable, now: float) -> None:
        """One has ended; evidence where work on it was seen."""
        self._look(now)
        self._left -= 1
        began_at = self._working.pop(key, None)
        if began_at is not None:
            self._measured.append(now - began_at)
        self._forecast = self._foresee(now)

    def seconds_left(self, now: float) -> float | None:
        """How long the rest may take; None where nothing honest can be said."""
        if self._forecast is None or not self._working or not self._left:
            return None
        return self._forecast.left(now)

    def _look(self, now: float) -> None:
        if self._working:
            self._active_seconds += now - self._looked_at
            self._busy_seconds += (now - self._looked_at) * len(self._working)
        self._looked_at = now

    def _foresee(self, now: float) -> _Forecast | None:
        if len(self._measured) < LEAST_EVIDENCE or not self._left:
            return None
        typical = median(self._measured)
        begun = [max(typical - (now - began_at), 0.0) for began_at in self._working.values()]
        waiting = self._left - len(begun)
        at_once = max(self._busy_seconds / self._active_seconds, 1.0) if self._busy_seconds else 1.0
        seconds = max(
            (sum(begun) + waiting * typical) / at_once,
            typical if waiting else 0.0,
            *begun,
        )
        return _Forecast(now, seconds, PATIENCE * max(self._measured))


class RemainingAmount:
    """The rest of an amount that only its progress is told of, such as bytes of a copy."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last_at = 0.0
        self._longest_pause = 0.0
        self._steps = 0
        self._forecast: _Forecast | None = None

    def note(self, done: float, total: float, now: float) -> None:
        """Take how much is done; what was done before the first note is no evidence."""
        if self._first is None:
            self._first = (done, now)
        else:
            self._steps += 1
            self._longest_pause = max(self._longest_pause, now - self._last_at)
        self._last_at = now
        self._forecast = self._foresee(done, total, now)

    def seconds_left(self, now: float) -> float | None:
        """How long the rest may take; None where nothing honest can be said."""
        return None if self._forecast is None else self._forecast.left(now)

    def _foresee(self, done: float, total: float, now: float) -> _Forecast | None:
        if self._first is None or self._steps < LEAST_EVIDENCE:
            return None
        first_done, first_at = self._first
        moved, seconds = done - first_done, now - first_at
        if moved <= 0 or seconds < LEAST_SECONDS:
            return None
        patience = max(PATIENCE * self._longest_pause, LEAST_SECONDS)
        return _Forecast(now, (total - done) * seconds / moved, patience)


def left_words(seconds: float) -> str:
    """An estimate as roughly as it is meant: "about 40 s left", "about 2 min left"."""
    if seconds < 7.5:
        return "a few seconds left"
    if seconds < 55:
        return f"about {max(round(seconds / 10), 1) * 10} s left"
    minutes = max(round(seconds / 60), 1)
    if minutes < 60:
        return f"about {minutes} min left"
    hours, rest = divmod(round(minutes / 10) * 10, 60)
    return f"about {hours} h {rest} min left" if rest else f"about {hours} h left"
