"""How a run of many scenes is summed up: log lines, and the failure at its end.

Belongs here: bounded words and tables about outcomes. Does not belong here: deciding what failed.
"""

import shlex
from collections import Counter
from decimal import Decimal
from typing import Final

import dagster as dg

from scene_pipeline.defs.catalogue import table_schema
from scene_pipeline.pipeline.orders import UNFINISHED, Failure, SceneOutcome, SceneRef
from scene_pipeline.scenes.table import PromptRow

UNFINISHED_SCENES: Final = "unfinished_scenes"
"""Metadata of a run's failure: its scenes failed, not the run as a whole."""
_NAMED_IN_TEXT = 20
_PROJECTS_NAMED = 3
_ROWS_IN_TABLE = 200
_NAMED_IN_LOG_LINE = 25
_EXPLAINED_IN_LOG_LINE = 5
_TABLE_COLUMNS = (
    ("scene", "string", "Scene without what was asked for."),
    ("message", "string", "Why."),
    ("next_action", "string", "What to do about it."),
    ("code", "string", "The same reason as a word of docs/errors.md."),
    ("status", "string", "How it ended."),
    ("project", "string", "Project of the scene."),
)
"""In the order in which they matter: Dagster's page cuts wide tables off at the right."""


class RunSummary:
    """Counts a run's outcomes and keeps those that failed; memory bounded by the order's size."""

    def __init__(self, scenes: tuple[SceneRef, ...]) -> None:
        self.prompts: list[PromptRow] = []
        """The run's lines of the prompts table."""
        self._awaited = set(scenes)
        self._counts: Counter[str] = Counter()
        self._cost_usd = Decimal(0)
        self._unfinished: list[SceneOutcome] = []
        self._untold: list[SceneOutcome] = []

    def add(self, outcome: SceneOutcome) -> None:
        """Count one scene's outcome."""
        self._awaited.discard(outcome.scene)
        self._counts[outcome.status] += 1
        self._cost_usd += outcome.cost_usd
        self._untold.append(outcome)
        if outcome.status in UNFINISHED:
            self._unfinished.append(outcome)

    def take_log_line(self) -> str | None:
        """One line about the scenes that ended since the last one, or None where none did.

        Scenes share a line because a line is a row of the event log, written while they wait.
        """
        told, self._untold = self._untold, []
        if not told:
            return None
        unfinished = [outcome for outcome in told if outcome.status in UNFINISHED]
        explained = unfinished[:_EXPLAINED_IN_LOG_LINE]
        short = [outcome for outcome in told if outcome not in explained][:_NAMED_IN_LOG_LINE]
        words = [*map(_failure_words, explained), *map(_outcome_words, short)]
        return "; ".join([*words, *_and_more(len(told) - len(words))])

    @property
    def totals(self) -> str:
        """One sentence about all scenes that ended."""
        counts = ", ".join(f"{number} {status}" for status, number in sorted(self._counts.items()))
        return f"{counts or 'no scenes'}; {self._cost_usd} USD"

    def _again(self) -> str:
        """The commands that go on with what was not reached, for the first projects."""
        projects = sorted({scene.project_key for scene in self._awaited})[:_PROJECTS_NAMED]
        return ", ".join(f"`{shlex.join(['scene-pipeline', 'run', key])}`" for key in projects)

    def failure(self) -> dg.Failure | None:
        """What the op raises at its end, or None where every scene has what was asked for.

        It names the scenes with code and next action, and forbids a step retry: what may be done
        again is done again by the pipeline itself, which knows what is paid.
        """
        missing = len(self._awaited)
        if not self._unfinished and not missing:
            return None
        named = [_failure_words(outcome) for outcome in self._unfinished[:_NAMED_IN_TEXT]]
        total = sum(self._counts.values()) + missing
        lines = [
            f"[{UNFINISHED_SCENES}] {len(self._unfinished) + missing} of {total} scenes did not get"
            f" what was asked for ({self.totals}).",
            *named,
            *_and_more(len(self._unfinished) - len(named)),
        ]
        if missing:
            names = ", ".join(map(_name, sorted(self._awaited)[:_NAMED_IN_TEXT]))
            lines.append(f"Not reached: {missing}. Go on with {self._again()}. First: {names}.")
        return dg.Failure(
            description="\n".join(lines),
            metadata={
                UNFINISHED_SCENES: self._table(),
                "totals": self.totals,
                "cost_usd": float(self._cost_usd),
            },
            allow_retries=False,
        )

    def _table(self) -> dg.TableMetadataValue:
        """Those that failed first, then those that the run did not come to."""
        lost = Failure(
            UNFINISHED_SCENES, "The run ended before it.", f"Go on with {self._again()}."
        )
        scenes: list[tuple[SceneRef, str, Failure | None]] = [
            (one.scene, one.status, one.failure) for one in self._unfinished
        ]
        scenes += [(scene, "not reached", lost) for scene in sorted(self._awaited)]
        return dg.MetadataValue.table(
            records=[_failure_row(*scene) for scene in scenes[:_ROWS_IN_TABLE]],
            schema=table_schema(_TABLE_COLUMNS),
        )


def _outcome_words(outcome: SceneOutcome) -> str:
    version = "" if outcome.frame is None else f" v{outcome.frame.version}"
    reason = "" if outcome.failure is None else f" ({outcome.failure.code})"
    return f"{outcome.scene.scene_id} {outcome.status}{version}{reason}"


def _name(scene: SceneRef) -> str:
    return f"{scene.project_key}/{scene.scene_id}"


def _failure_words(outcome: SceneOutcome) -> str:
    words = f"{_name(outcome.scene)}: {outcome.status}"
    if outcome.failure is None:
        return f"{words}."
    failure = outcome.failure
    return f"{words} [{failure.code}] {failure.message} {failure.next_action}"


def _failure_row(scene: SceneRef, status: str, failure: Failure | None) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "scene": scene.scene_id,
            "message": "" if failure is None else failure.message,
            "next_action": "" if failure is None else failure.next_action,
            "code": "" if failure is None else failure.code,
            "status": status,
            "project": scene.project_key,
        }
    )


def _and_more(number: int) -> list[str]:
    return [f"and {number} more"] if number > 0 else []
