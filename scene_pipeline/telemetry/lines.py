"""A record of the log as one line: text for people, JSON for programs.

Belongs here: form and bounds. Does not belong here: what is hidden (`telemetry.redaction`), where
lines go (`telemetry.logs`).
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.telemetry.context import LogContext, current_context
from scene_pipeline.telemetry.redaction import Redaction

if TYPE_CHECKING:
    from scene_pipeline.telemetry.facts import FactValue

MAX_LINE = 8192
"""Characters of a line, whatever it tells; JSON is ASCII, so these are bytes there."""
MAX_MESSAGE = 2000
"""Characters of a message or a traceback, of which the end is kept."""
MAX_SEARCHED = 20_000
"""Characters of a message that are looked at at all."""
MAX_FACT = 200
"""Characters of everything else."""
_SHORTER = (1, 4, 20)
"""What the bounds are divided by, one after the other, until a line is short enough."""
FACTS = "facts"
"""Name under which `extra` carries further facts of a record."""


class LineFormatter(logging.Formatter):
    """One line per record.

    Args:
        redaction: What is hidden.
        is_json: Whether a line is a JSON object.
    """

    def __init__(self, redaction: Redaction, *, is_json: bool) -> None:
        super().__init__()
        self._redaction = redaction
        self._is_json = is_json

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, without its end."""
        line = ""
        for divisor in _SHORTER:
            values = self._values(record, divisor)
            line = json.dumps(values, default=str) if self._is_json else _as_text(values)
            if len(line) <= MAX_LINE:
                break
        return line

    def _values(self, record: logging.LogRecord, divisor: int) -> dict[str, "FactValue"]:
        moment = datetime.fromtimestamp(record.created, UTC)
        values: dict[str, FactValue] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._bounded(_message(record), MAX_MESSAGE // divisor),
        }
        for name, value in (_about(current_context()) | _facts_of(record)).items():
            shown = self._bounded(value, MAX_FACT // divisor) if isinstance(value, str) else value
            values[name] = shown
        trace = _traceback(self, record)
        if trace:
            shown = self._redaction.one_line(_ending(trace))
            values["traceback"] = shown[-(MAX_MESSAGE // divisor) :]
        return values

    def _bounded(self, text: str, most: int) -> str:
        shown = self._redaction.one_line(_beginning(text))
        return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # arguments of others that do not fit their own message
        return str(record.msg)


def _beginning(text: str) -> str:
    """As much as is searched for secrets, without the word that a cut would leave half of."""
    return text if len(text) <= MAX_SEARCHED else text[:MAX_SEARCHED].rpartition(" ")[0]


def _ending(text: str) -> str:
    """Likewise, from the end."""
    return text if len(text) <= MAX_SEARCHED else text[-MAX_SEARCHED:].partition(" ")[2]


def _about(context: LogContext) -> dict[str, "FactValue"]:
    named = {
        "project": context.project,
        "scene": context.scene,
        "generation": context.generation,
        "run": context.run,
    }
    return {name: value for name, value in named.items() if value is not None}


def _facts_of(record: logging.LogRecord) -> "dict[str, FactValue]":
    facts = getattr(record, FACTS, None)
    given: dict[str, FactValue] = dict(facts) if isinstance(facts, Mapping) else {}
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ScenePipelineError):
        given.setdefault("code", error.error_code)
    return given


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback; none of an error of ours, which says everything in its sentence."""
    if not record.exc_info or isinstance(record.exc_info[1], ScenePipelineError):
        return ""
    return formatter.formatException(record.exc_info)


def _as_text(values: "Mapping[str, FactValue]") -> str:
    rest = dict(values)
    head = f"{rest.pop('time')} {str(rest.pop('level')).upper()} {rest.pop('logger')}:"
    message = str(rest.pop("message"))
    told = " ".join(f"{name}={value}" for name, value in rest.items())
    return f"{head} {message} [{told}]" if told else f"{head} {message}"
