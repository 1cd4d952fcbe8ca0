"""What a drill tells while it works, for whoever watches; no verdict stands on any of it."""

from collections.abc import Callable
from dataclasses import dataclass

from scene_pipeline.drill.verdicts import Verdict
from scene_pipeline.pipeline.orders import StreamEvent


@dataclass(frozen=True, slots=True)
class DrillStep:
    """The next part of the drill begins."""

    words: str


@dataclass(frozen=True, slots=True)
class ScenarioTold:
    """What the pipeline said of a scenario's scene in one of the drill's runs."""

    name: str
    run: str
    event: StreamEvent


DrillEvent = DrillStep | ScenarioTold | Verdict
Tell = Callable[[DrillEvent], None]
"""Called in the drill's thread; must return at once."""
