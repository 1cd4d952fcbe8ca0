"""One hook for log, traces and metrics; and nothing of it where telemetry is off."""

import asyncio
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from scene_pipeline.errors import ConfigurationError, StorageError
from scene_pipeline.settings import load_settings
from scene_pipeline.telemetry import export
from scene_pipeline.telemetry.context import LogContext, current_context, log_context
from scene_pipeline.telemetry.logs import set_up
from scene_pipeline.telemetry.sink import Facts, current_sink, use_sink
from scene_pipeline.telemetry.stages import RunRecord, scene_record, stage


@dataclass
class Recorder:
    """A sink that keeps what it is told."""

    spans: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list)
    added: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)
    recorded: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)

    def begin(self, name: str, facts: Facts, *, run_id: str | None = None) -> "RecordedSpan":
        assert run_id is None or name == "run"
        return RecordedSpan(self, name, dict(facts))

    def add(self, instrument: str, amount: float, facts: Facts) -> None:
        self.added.append((instrument, amount, dict(facts)))

    def record(self, instrument: str, value: float, facts: Facts) -> None:
        self.recorded.append((instrument, value, dict(facts)))


@dataclass
class RecordedSpan:
    recorder: Recorder
    name: str
    facts: dict[str, Any]

    def activate(self) -> object:
        return self

    def deactivate(self, token: object) -> None:
        assert token is self

    def end(self, facts: Facts, code: str | None) -> None:
        self.recorder.spans.append((self.name, self.facts | dict(facts), code))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    running = Recorder()
    use_sink(running)
    yield running
    use_sink(None)


def test_a_stage_is_timed_and_traced_with_what_it_is_about(recorder: Recorder) -> None:
    with log_context(project="film", scene="s1", run="r1"), stage("submit", model="m") as told:
        told.note(request_id="q1", version=None)

    [(name, facts, code)] = recorder.spans
    assert (name, code) == ("submit", None)
    assert facts == {
        "project": "film",
        "scene": "s1",
        "run": "r1",
        "model": "m",
        "request_id": "q1",
    }
    [(instrument, seconds, about)] = recorder.recorded
    assert instrument == "scene_pipeline.stage.duration"
    assert 0 <= seconds < 1
    assert about == {"stage": "submit", "model": "m"}


def test_an_error_passes_through_and_leaves_its_code(recorder: Recorder) -> None:
    error = StorageError("No.", code="storage_down")

    with pytest.raises(StorageError) as caught, stage("upload", bytes=5):
        raise error

    assert caught.value is error
    assert recorder.spans[0][2] == "storage_down"
    assert recorder.recorded[0][2] == {"stage": "upload", "code": "storage_down"}
    assert recorder.added == [], "nothing was stored"


def test_bytes_count_once_they_are_stored(recorder: Recorder) -> None:
    with stage("upload", bytes=5, key="k"):
        pass
    with stage("download") as told:
        told.note(bytes=7)

    assert recorder.added == [("scene_pipeline.storage.bytes", 5, {})]


def test_a_request_is_in_flight_while_it_is_polled(recorder: Recorder) -> None:
    with contextlib.suppress(asyncio.CancelledError), stage("poll", provider="fal"):
        assert recorder.added == [("scene_pipeline.generations.in_flight", 1, {"provider": "fal"})]
        raise asyncio.CancelledError

    assert sum(amount for _, amount, _ in recorder.added) == 0
    assert recorder.spans[0][2] == "cancelled"


def test_a_scene_is_counted_by_how_it_ended_and_who_was_asked(recorder: Recorder) -> None:
    with scene_record("film", "s1") as record:
        with stage("submit", provider="fal", model="flux"):
            pass
        record.note(status="failed", code="content_rejected", cost_usd=0.5)

    asked = {"provider": "fal", "model": "flux"}
    assert recorder.added == [
        ("scene_pipeline.frames", 1, {"status": "failed", **asked}),
        ("scene_pipeline.cost", 0.5, {"cost_kind": "estimated", **asked}),
        ("scene_pipeline.failures", 1, {"code": "content_rejected"}),
    ]
    assert recorder.spans[-1][2] == "content_rejected"


def test_a_scene_that_was_cut_off_is_not_counted(recorder: Recorder) -> None:
    with pytest.raises(asyncio.CancelledError), scene_record("film", "s1"):
        raise asyncio.CancelledError

    assert recorder.added == []
    assert recorder.spans[0][2] == "cancelled"


def test_a_run_held_across_a_yield_leaves_its_reader_alone() -> None:
    async def numbers() -> AsyncIterator[int]:
        with RunRecord("r1", 2) as run:
            for number in range(2):
                with run.active():
                    assert current_context().run == "r1"
                yield number

    async def read() -> list[LogContext]:
        return [current_context() async for _ in numbers()]

    assert asyncio.run(read()) == [LogContext(), LogContext()]


def test_stages_are_told_in_the_log_with_their_facts() -> None:
    lines = io.StringIO()
    set_up(load_settings(log_level="info", log_format="json"), lines)

    with log_context(scene="s1"), stage("upload", key="a/b.png", bytes=5):
        pass

    told = json.loads(lines.getvalue())
    assert told["message"] == "upload done"
    assert (told["stage"], told["scene"], told["key"], told["bytes"]) == (
        "upload",
        "s1",
        "a/b.png",
        5,
    )


def test_telemetry_is_off_by_default() -> None:
    export.start(load_settings())

    assert current_sink() is None


def test_without_the_extra_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in ("otel", "otlp"):
        monkeypatch.delitem(sys.modules, f"scene_pipeline.telemetry.{name}", raising=False)

    with pytest.raises(ConfigurationError) as caught:
        export.start(load_settings(telemetry=True))

    assert caught.value.error_code == "telemetry_not_installed"
    assert "pip install 'scene-pipeline[otel]'" in caught.value.next_action
    assert current_sink() is None


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    program = (
        "import sys\n"
        "import scene_pipeline.pipeline.making.background\n"
        "from scene_pipeline.settings import load_settings\n"
        "from scene_pipeline.telemetry import export\n"
        "from scene_pipeline.telemetry.stages import stage\n"
        "export.start(load_settings())\n"
        "with stage('submit'):\n"
        "    pass\n"
        "export.flush()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert ended.stdout.strip() == "[]"
