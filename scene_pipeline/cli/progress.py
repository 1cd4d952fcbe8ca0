"""The live display of a run: what really happened to each scene, as it happens.

Belongs here: turning the stream's events into lines. Does not belong here: the summary at the end
(`cli.run_report`). No percentage is invented: a line changes when the pipeline says something.
"""

import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from scene_pipeline.cli.live_display import LiveDisplay
from scene_pipeline.cli.live_lines import Line
from scene_pipeline.cli.remaining import RemainingItems
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import duration, outcome_words, plural
from scene_pipeline.pipeline.facts import dollars
from scene_pipeline.pipeline.orders import (
    ProgressKind,
    SceneChecked,
    SceneOutcome,
    SceneProgress,
    SceneRef,
    Stage,
    StageDone,
    StreamEvent,
)

MAX_CHECK_LINES = 20
"""Failed checks that get a line of their own; the others are counted."""
_AFTER_STAGE: dict[Stage, str] = {
    "scene_prompt": "planned",
    "generated_frame": "picture made",
    "scene_image": "stored",
    "scene_start_frame": "published",
}
_WAITING: frozenset[ProgressKind] = frozenset({"queued", "waiting"})


def told_words(event: StageDone | SceneProgress) -> str:
    """What just happened to a scene, in a few words."""
    return _AFTER_STAGE[event.stage] if isinstance(event, StageDone) else plain(event.text)


class RunProgress(LiveDisplay):
    """Shows a run while it works; called in the run's thread for every event.

    Args:
        terminal: Where to.
        scenes: All scenes of the run, in the document's order.
        cap_usd: What the run may spend at most.
    """

    def __init__(self, terminal: Terminal, scenes: Sequence[SceneRef], cap_usd: Decimal) -> None:
        super().__init__(terminal)
        self._lines = {scene: Line(plain(scene.scene_id)) for scene in scenes}
        self._standing: dict[SceneRef, str] = {}
        """Where a scene stands that has not ended: "queued", "in progress" or ""."""
        self._cap_usd = cap_usd
        self._spent_usd = Decimal(0)
        self._ended: Counter[str] = Counter()
        self._failed_checks = 0
        self._remaining = RemainingItems(len(self._lines))
        self._doing = "Starting Dagster"
        self._doing_besides = ""
        """What is being done whatever is told of the scenes."""
        self._width = max((len(line.label) for line in self._lines.values()), default=0)

    def __call__(self, event: StreamEvent) -> None:
        """Take one event of the stream."""
        with self._lock:
            line = self._lines.get(event.scene)
            said = [] if line is None else self._take(line, event, time.monotonic())
        for words in said:
            self._terminal.say(words)
        self.say_totals_now_and_then()

    def stopping(self) -> None:
        """Say that nothing new is begun; may be called by any thread."""
        with self._lock:
            self._doing = self._doing_besides = "Stopping; nothing new is sent"
        if not self.is_drawn:
            self._terminal.say("Stopping; nothing new is sent ...", style="dim")

    def lines(self) -> Sequence[Line]:
        """See `LiveDisplay.lines`."""
        return list(self._lines.values())

    def counts(self) -> list[str]:
        """See `LiveDisplay.counts`."""
        parts = [f"{sum(self._ended.values())} of {len(self._lines)}"]
        parts += [f"{number} {status}" for status, number in self._ended.items()]
        standing = Counter(where for where in self._standing.values() if where)
        parts += [f"{standing[where]} {where}" for where in sorted(standing)]
        if self._failed_checks:
            parts.append(f"{plural(self._failed_checks, 'check')} failed")
        parts.append(f"{dollars(self._spent_usd)} of {dollars(self._cap_usd)}")
        return parts

    def seconds_left(self, now: float) -> float | None:
        """See `LiveDisplay.seconds_left`."""
        return self._remaining.seconds_left(now)

    def _take(self, line: Line, event: StreamEvent, now: float) -> list[str]:
        """Change what is shown; returns the lines that are to stay."""
        self._doing = self._doing_besides
        match event:
            case StageDone():
                line.work(told_words(event), now)
                if event.stage != "scene_prompt":
                    self._work_on(event.scene, now)
            case SceneProgress():
                line.work(told_words(event), now)
                if event.kind in _WAITING:
                    self._standing[event.scene] = "queued" if event.kind == "queued" else ""
                    self._remaining.waits(event.scene, now)
                else:
                    self._work_on(event.scene, now)
            case SceneChecked():
                return self._failed_checks_of(line, event)
            case SceneOutcome():
                return self._end(line, event, now)
        return []

    def _work_on(self, scene: SceneRef, now: float) -> None:
        self._standing[scene] = "in progress"
        self._remaining.works(scene, now)

    def _end(self, line: Line, outcome: SceneOutcome, now: float) -> list[str]:
        line.end(outcome_words(outcome), outcome.status, now)
        self._standing.pop(outcome.scene, None)
        self._remaining.ends(outcome.scene, now)
        self._ended[outcome.status] += 1
        self._spent_usd += outcome.cost_usd
        if self.is_drawn:
            return []
        seconds = duration(now - (line.began_at or now))
        return [f"{line.label:<{self._width}}  {line.words}  {seconds}"]

    def _failed_checks_of(self, line: Line, event: SceneChecked) -> list[str]:
        failed = [verdict for verdict in event.verdicts if not verdict.passed]
        room = max(MAX_CHECK_LINES - self._failed_checks, 0)
        self._failed_checks += len(failed)
        return [
            f"{line.label}  check failed: {verdict.name}: {plain(verdict.words)}"
            for verdict in failed[:room]
        ]
