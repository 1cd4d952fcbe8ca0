"""OpenTelemetry as a sink: imported only where telemetry is on and the extra is installed.

Belongs here: providers, processors, bounds, names of instruments. Does not belong here: how the
exporters leave the machine (`telemetry.otlp`), what is measured (`telemetry.stages`).

Bounds: 4,096 spans wait at most, of which 512 leave at once, at the latest after two seconds;
metrics leave every ten seconds, and once more at the end. What finds no place is dropped. A request
takes five seconds at most, on threads of their own.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from importlib.metadata import version as package_version
from typing import Final
from uuid import UUID

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, UpDownCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Status, StatusCode

from scene_pipeline.settings import Settings
from scene_pipeline.telemetry import stages
from scene_pipeline.telemetry.facts import ATTRIBUTES
from scene_pipeline.telemetry.otlp import metric_exporter, span_exporter
from scene_pipeline.telemetry.sink import Facts

SCOPE: Final = "scene_pipeline"
MAX_WAITING_SPANS: Final = 4096
MAX_BATCH: Final = 512
SPAN_DELAY_MILLISECONDS: Final = 2_000
METRICS_MILLISECONDS: Final = 10_000
GIVE_UP_SECONDS: Final = 0.5
"""How long the exporters may take to let go."""
MAX_ATTRIBUTE: Final = 200
"""Characters of an attribute."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_run_of_next_trace: ContextVar[str | None] = ContextVar("scene_pipeline_next_trace", default=None)


class OtelSpan:
    """A span of OpenTelemetry."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def activate(self) -> Token[Context]:
        """Let what begins from here on be its child."""
        return otel_context.attach(trace.set_span_in_context(self._span))

    def deactivate(self, token: object) -> None:
        """Undo `activate`."""
        if isinstance(token, contextvars.Token):
            otel_context.detach(token)

    def end(self, facts: Facts, code: str | None) -> None:
        """End it; an error is told by its code alone, since a message may quote a prompt."""
        self._span.set_attributes(_attributes(facts))
        if code is not None:
            self._span.set_attribute(ATTRIBUTES["code"], code)
            self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.end()


class OtelSink:
    """Sends spans and metrics to a collector, by threads of its own.

    Args:
        settings: The collector, and the way out.
    """

    def __init__(self, settings: Settings) -> None:
        resource = _resource()
        self._tracers = TracerProvider(
            resource=resource, shutdown_on_exit=False, id_generator=_TraceIsRun()
        )
        self._exporters = (span_exporter(settings), metric_exporter(settings))
        self._tracers.add_span_processor(
            BatchSpanProcessor(
                self._exporters[0],
                max_queue_size=MAX_WAITING_SPANS,
                max_export_batch_size=MAX_BATCH,
                schedule_delay_millis=SPAN_DELAY_MILLISECONDS,
            )
        )
        reader = PeriodicExportingMetricReader(
            self._exporters[1],
            export_interval_millis=METRICS_MILLISECONDS,
        )
        self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._tracer = self._tracers.get_tracer(SCOPE)
        meter = self._meters.get_meter(SCOPE)
        self._added: dict[str, Counter | UpDownCounter] = {
            stages.FRAMES: meter.create_counter(
                stages.FRAMES, "{scene}", "Scenes that came to an end, by status."
            ),
            stages.COST_USD: meter.create_counter(
                stages.COST_USD, "USD", "What runs have spent, by how it is known."
            ),
            stages.FAILURES: meter.create_counter(
                stages.FAILURES, "{scene}", "Scenes that ended with an error's code."
            ),
            stages.BYTES_STORED: meter.create_counter(
                stages.BYTES_STORED, "By", "Bytes of pictures put into the store."
            ),
            stages.IN_FLIGHT: meter.create_up_down_counter(
                stages.IN_FLIGHT, "{request}", "Requests that are at an image service."
            ),
        }
        self._recorded: dict[str, Histogram] = {
            stages.STAGE_SECONDS: meter.create_histogram(
                stages.STAGE_SECONDS,
                "s",
                "How long a stage took.",
                explicit_bucket_boundaries_advisory=_SECONDS,
            )
        }

    def begin(self, name: str, facts: Facts, *, run_id: str | None = None) -> OtelSpan:
        """Begin a span; with `run_id` it is the root of the trace that has the run's id."""
        if run_id is None:
            return OtelSpan(self._tracer.start_span(name, attributes=_attributes(facts)))
        token = _run_of_next_trace.set(run_id)
        try:
            span = self._tracer.start_span(name, Context(), attributes=_attributes(facts))
        finally:
            _run_of_next_trace.reset(token)
        return OtelSpan(span)

    def add(self, instrument: str, amount: float, facts: Facts) -> None:
        """Add to a counter, or to what goes up and down."""
        self._added[instrument].add(amount, _attributes(facts))

    def record(self, instrument: str, value: float, facts: Facts) -> None:
        """One value of a histogram."""
        self._recorded[instrument].record(value, _attributes(facts))

    def flush(self, seconds: float) -> bool:
        """Send what waits; whether it was sent within the time."""
        return _within(seconds, self._tracers.force_flush, self._meters.force_flush)

    def close(self, seconds: float) -> bool:
        """Send what waits, and stop; what is not sent within the time is dropped."""
        is_sent = _within(seconds, self._tracers.shutdown, self._meters.shutdown)
        if not is_sent:
            # Otherwise they would go on trying, behind the back of whatever comes next.
            _within(GIVE_UP_SECONDS, *(exporter.shutdown for exporter in self._exporters))
        return is_sent


class _TraceIsRun(IdGenerator):
    """Gives a run's trace the run's own id, which is as long as a trace's."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        run_id = _run_of_next_trace.get()
        try:
            return UUID(run_id).int if run_id else self._random.generate_trace_id()
        except ValueError:  # a run that was named by hand
            return self._random.generate_trace_id()


def _within(seconds: float, *calls: Callable[[], object]) -> bool:
    """Call each on a thread of its own: the SDK's calls take no time limit that they keep."""
    threads = [threading.Thread(target=call, daemon=True, name="telemetry-end") for call in calls]
    until = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    return not any(thread.is_alive() for thread in threads)


def _attributes(facts: Facts) -> dict[str, str | int | float | bool]:
    """Only what has a name is sent."""
    shown: dict[str, str | int | float | bool] = {}
    for name, value in facts.items():
        attribute = ATTRIBUTES.get(name)
        if attribute is not None:
            shown[attribute] = value[:MAX_ATTRIBUTE] if isinstance(value, str) else value
    return shown


def _resource() -> Resource:
    """Who sends: as OpenTelemetry's own variables say, and else by our names."""
    detected = Resource.create()
    ours = {"service.version": package_version("scene-pipeline")}
    if str(detected.attributes.get("service.name", "")).startswith("unknown_service"):
        ours["service.name"] = "scene-pipeline"
    return detected.merge(Resource(ours))
