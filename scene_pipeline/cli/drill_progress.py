"""The live display of a drill: which promise is being tried, and what was judged.

Belongs here: turning what a drill tells into lines. Does not belong here: the verdicts at the end
(`cli.drill`). No time is foretold: each fault takes as long as it takes, so that one says nothing
of another.
"""

import time
from collections.abc import Sequence

from scene_pipeline.cli.live_display import LiveDisplay
from scene_pipeline.cli.live_lines import Line
from scene_pipeline.cli.progress import told_words
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import outcome_words, plural
from scene_pipeline.drill.events import DrillEvent, DrillStep, ScenarioTold
from scene_pipeline.drill.scenarios import Scenario
from scene_pipeline.drill.verdicts import Verdict
from scene_pipeline.pipeline.orders import SceneChecked, SceneOutcome


class DrillProgress(LiveDisplay):
    """Shows a drill while it works; called in the drill's thread for every event.

    Args:
        terminal: Where to.
        scenarios: What is tried.
    """

    def __init__(self, terminal: Terminal, scenarios: Sequence[Scenario]) -> None:
        super().__init__(terminal)
        self._lines = {one.name: Line(one.name, one.promise) for one in scenarios}
        self._width = max(map(len, self._lines))
        self._verdicts: list[Verdict] = []
        self._doing = "Starting"

    def __call__(self, event: DrillEvent) -> None:
        """Take one event of the drill."""
        with self._lock:
            said = self._take(event, time.monotonic())
        if said is not None and not self.is_drawn:
            self._terminal.say(said, style="dim")

    def lines(self) -> Sequence[Line]:
        """See `LiveDisplay.lines`."""
        return list(self._lines.values())

    def counts(self) -> list[str]:
        """See `LiveDisplay.counts`."""
        if not self._verdicts:
            return [plural(len(self._lines) - 1, "fault")]
        held = sum(verdict.is_held for verdict in self._verdicts)
        return [f"{held} of {plural(len(self._verdicts), 'promise')} held"]

    def _take(self, event: DrillEvent, now: float) -> str | None:
        """Change what is shown; returns the line for where nothing is drawn over."""
        match event:
            case DrillStep():
                self._doing = event.words
                return f"{event.words} ..."
            case ScenarioTold():
                return self._told(event, now)
            case Verdict():
                self._verdicts.append(event)
                line = self._lines.get(event.name)
                if line is not None:
                    mark, style = ("generated", "") if event.is_held else ("failed", "red")
                    line.end(event.happened, mark, now, style)
        return None

    def _told(self, told: ScenarioTold, now: float) -> str | None:
        line, event = self._lines[told.name], told.event
        if isinstance(event, SceneChecked):
            return None
        if not isinstance(event, SceneOutcome):
            line.work(f"{told.run}: {told_words(event)}", now)
            return None
        words = plain(f"{told.run}: {outcome_words(event)}")
        # Yellow: whether the promise held is not for the pipeline to say.
        line.end(words, "working", now, "yellow" if event.failure else "")
        return f"tried {line.label:<{self._width}}  {words}"
