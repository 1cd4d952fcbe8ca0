"""Turning traces and metrics on and off: off by default, and then nothing of it is imported.

Belongs here: when, and what becomes of a collector that does not answer. Does not belong here:
OpenTelemetry itself (`telemetry.otel`).

Mode of operation: a run's stream starts it and flushes at its end; it stays on until the process
ends, so that the ranges of one command share it. Sensors and other commands never start it. A
collector that does not take what is sent costs two seconds at the end of a run and one line in the
log, once for as long as it is on.
"""

import logging
import threading
from typing import TYPE_CHECKING, Final

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings
from scene_pipeline.telemetry.sink import use_sink

if TYPE_CHECKING:
    from scene_pipeline.telemetry.otel import OtelSink

FLUSH_SECONDS: Final = 2.0
EXTRA: Final = "scene-pipeline[otel]"

_log = logging.getLogger(__name__)
_lock = threading.Lock()


class _State:
    """What is on in this process."""

    sink: "OtelSink | None" = None
    endpoint: str | None = None
    is_late: bool = False
    """Whether a flush was not finished in time: further ones are not waited for."""


def start(settings: Settings) -> None:
    """Turn telemetry on where the settings say so; nothing where it is on already, or off.

    Raises:
        ConfigurationError: code "telemetry_not_installed" without the extra,
            "otlp_endpoint_invalid" for an address that is none.
    """
    if not settings.telemetry:
        return
    with _lock:
        if _State.sink is not None and _State.endpoint == settings.otlp_endpoint:
            return
        _close()
        _undelivered.begin()
        _State.sink, _State.endpoint = _open(settings), settings.otlp_endpoint
        use_sink(_State.sink)


def flush() -> None:
    """Send what waits, for two seconds at most."""
    with _lock:
        if _State.sink is not None and not _State.is_late:
            _State.is_late = not _State.sink.flush(FLUSH_SECONDS)
            if _State.is_late:
                _undelivered.tell()


def stop() -> None:
    """Turn telemetry off, after what waits was sent, for two seconds at most."""
    with _lock:
        _close()


def _close() -> None:
    sink, _State.sink, _State.endpoint, _State.is_late = _State.sink, None, None, False
    use_sink(None)
    if sink is not None:
        sink.close(FLUSH_SECONDS)


def _open(settings: Settings) -> "OtelSink":
    try:
        from scene_pipeline.telemetry.otel import OtelSink  # noqa: PLC0415  # an extra, and heavy
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ConfigurationError(
            "SCENE_PIPELINE_TELEMETRY is on, but OpenTelemetry is not installed.",
            code="telemetry_not_installed",
            next_action=f"Install it with pip install '{EXTRA}', or set"
            " SCENE_PIPELINE_TELEMETRY=false.",
        ) from error
    return OtelSink(settings)


class _SaidOnce(logging.Handler):
    """Takes what the exporters say of every failed request, and says one sentence in its place."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._is_told = False

    def begin(self) -> None:
        """Take the exporters' words from now on; what was said of another one counts no more."""
        self._is_told = False
        logger = logging.getLogger("opentelemetry")
        if self not in logger.handlers:
            logger.addHandler(self)
            logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """A word of theirs may quote the collector's address: it is dropped."""
        self.tell(record.levelno)

    def tell(self, level: int = logging.WARNING) -> None:
        """Say it, unless it was said."""
        if level >= logging.WARNING and not self._is_told:
            self._is_told = True
            _log.warning(
                "Traces and metrics do not reach the collector of OTEL_EXPORTER_OTLP_ENDPOINT; the"
                " work goes on without them. This is said once.",
            )


_undelivered = _SaidOnce()
