"""Where our log goes: to standard error, once, and no other library's lines with it.

Belongs here: handlers and levels. Does not belong here: a line's form (`telemetry.lines`).

Only the loggers named here are ours. The root logger stays as it is: what Dagster, httpx or boto3
say at info would name addresses with their queries.
"""

import logging
import sys
from typing import Final, TextIO

from scene_pipeline.settings import Settings
from scene_pipeline.telemetry.lines import LineFormatter
from scene_pipeline.telemetry.redaction import Redaction

OWN_LOGGER: Final = "scene_pipeline"
SERVER_LOGGER: Final = "uvicorn"
"""What the HTTP server says, from warnings on."""


class _OwnHandler(logging.Handler):
    """Known again by its class, so that a second call replaces it."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, to what standard error is now: a live display may stand in for it."""
        try:
            stream = self._stream or sys.stderr
            stream.write(f"{self.format(record)}\n")
            stream.flush()
        except (OSError, ValueError):  # a reader that has left, or a closed stream, stops no work
            pass


def set_up(settings: Settings, stream: TextIO | None = None) -> None:
    """Send our log where the settings say; may be called again, the last call counts.

    Lines go to our handler alone: a handler that somebody else puts on the root logger would tell
    each of them twice.

    Args:
        settings: Level, format and secrets.
        stream: Where to; standard error when left out.
    """
    handler = _OwnHandler(stream)
    handler.setFormatter(
        LineFormatter(Redaction.of(settings), is_json=settings.log_format == "json")
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    for name, lowest in ((OWN_LOGGER, level), (SERVER_LOGGER, max(level, logging.WARNING))):
        logger = logging.getLogger(name)
        _remove_own_handlers(logger)
        logger.addHandler(handler)
        logger.setLevel(lowest)
        logger.propagate = False


def tear_down() -> None:
    """Undo `set_up`."""
    for name in (OWN_LOGGER, SERVER_LOGGER):
        logger = logging.getLogger(name)
        _remove_own_handlers(logger)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


def _remove_own_handlers(logger: logging.Logger) -> None:
    for handler in [h for h in logger.handlers if isinstance(h, _OwnHandler)]:
        logger.removeHandler(handler)
