"""How a run of many scenes is summed up: log lines, and the failure at its end.

Belongs here: bounded words and tables about outcomes. Does not belong here: deciding what failed.
"""

from collections import Counter
from decimal import Decimal
from typing import Final

import dagster as dg

from scene_pipeline.pipeline.orders import UNFINISHED, SceneOutcome, SceneRef
from scene_pipeline.scenes.table import PromptRow

UNFINISHED_SCENES: Final = "unfinished_scenes"
"""Metadata of a run's failure: its scenes failed, not the run as a whole."""
_NAMED_IN_TEXT = 20
_ROWS_IN_TABLE = 200
_NAMED_IN_LOG_LINE = 25


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
        words = [_outcome_words(outcome) for outcome in told[:_NAMED_IN_LOG_LINE]]
        return "; ".join([*words, *_and_more(len(told) - len(words))])

    @property
    def totals(self) -> str:
        """One sentence about all scenes that ended."""
        counts = ", ".join(f"{number} {status}" for status, number in sorted(self._counts.items()))
        return f"{counts or 'no scenes'}; {self._cost_usd} USD"

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
            f"{len(self._unfinished) + missing} of {total} scenes did not get what was asked for "
            f"({self.totals}).",
            *named,
            *_and_more(len(self._unfinished) - len(named)),
        ]
        if missing:
            lines.append(f"Not reached: {missing}.")
        return dg.Failure(
            description="\n".join(lines),
            metadata={
                UNFINISHED_SCENES: _failure_table(self._unfinished),
                "totals": self.totals,
                "cost_usd": float(self._cost_usd),
            },
            allow_retries=False,
        )


def _outcome_words(outcome: SceneOutcome) -> str:
    version = "" if outcome.frame is None else f" v{outcome.frame.version}"
    reason = "" if outcome.failure is None else f" ({outcome.failure.code})"
    return f"{outcome.scene.scene_id} {outcome.status}{version}{reason}"


def _failure_words(outcome: SceneOutcome) -> str:
    scene = f"{outcome.scene.project_key}/{outcome.scene.scene_id}"
    if outcome.failure is None:
        return f"{scene}: {outcome.status}."
    failure = outcome.failure
    return f"{scene}: {outcome.status} [{failure.code}] {failure.message} {failure.next_action}"


def _failure_table(outcomes: list[SceneOutcome]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[_failure_row(outcome) for outcome in outcomes[:_ROWS_IN_TABLE]],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn(name, "string")
                for name in ("project", "scene", "status", "code", "message", "next_action")
            ]
        ),
    )


def _failure_row(outcome: SceneOutcome) -> dg.TableRecord:
    failure = outcome.failure
    return dg.TableRecord(
        {
            "project": outcome.scene.project_key,
            "scene": outcome.scene.scene_id,
            "status": outcome.status,
            "code": "" if failure is None else failure.code,
            "message": "" if failure is None else failure.message,
            "next_action": "" if failure is None else failure.next_action,
        }
    )


def _and_more(number: int) -> list[str]:
    return [f"and {number} more"] if number > 0 else []
