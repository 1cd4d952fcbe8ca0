"""What a collector receives: directly, and through a real one that passes it on."""

import contextlib
import io
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from scene_pipeline.errors import BlockedError, ConfigurationError
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.telemetry import export
from scene_pipeline.telemetry.context import log_context
from scene_pipeline.telemetry.logs import set_up
from scene_pipeline.telemetry.stages import RunRecord, scene_record, stage
from scene_pipeline_tests.standins.otlp_receiver import (
    Manner,
    OtlpReceiver,
    exporters_are_gone,
    otlp_receiver,
)
from scene_pipeline_tests.standins.rotel import rotel_program, running_rotel
from scene_pipeline_tests.waiting import wait_until

SETTLE_SECONDS = 15.0


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as running:
        yield running


@pytest.fixture(autouse=True)
def _off_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is on before or after a test, and nobody waits long for a collector that hangs."""
    monkeypatch.setattr(export, "FLUSH_SECONDS", 0.8)
    yield
    export.stop()
    wait_until(exporters_are_gone)


@pytest.fixture
def log() -> io.StringIO:
    """What our log says."""
    lines = io.StringIO()
    set_up(load_settings(), lines)
    return lines


@pytest.fixture(params=["direct", "rotel"])
def settings(
    request: pytest.FixtureRequest, receiver: OtlpReceiver, tmp_path: Path
) -> Iterator[Settings]:
    """Settings that send to the receiver, on one of two ways."""
    if request.param == "direct":
        yield receiver.settings()
        return
    program = rotel_program()
    if program is None:
        pytest.skip("Rotel is not installed (it has no wheel for this platform)")
    with running_rotel(program, tmp_path, behind=receiver.url) as url:
        yield receiver.settings(otlp_endpoint=url)
        export.stop()


def work_on_a_scene(run_id: str, scene: str = "scene_1") -> None:
    """What a run tells of a scene that is made."""
    with RunRecord(run_id, 1) as run:
        with run.active(), stage("planning", scenes=1):
            pass
        with (
            run.active(),
            scene_record("film", scene) as record,
            log_context(generation="a-generation"),
        ):
            with stage("submit", provider="fal", model="flux") as told:
                told.note(request_id="request-1")
            with stage("poll", provider="fal", model="flux"):
                pass
            with stage("upload", key="projects/x/y.png", bytes=1000):
                pass
            record.note(status="generated", cost_usd=0.25, cost_kind="metered", version=3)


def test_a_run_is_a_trace_of_its_scenes_and_their_stages(
    receiver: OtlpReceiver, settings: Settings
) -> None:
    run_id = str(uuid.uuid4())
    export.start(settings)

    work_on_a_scene(run_id)
    export.flush()

    wait_until(lambda: len(receiver.spans) == 6)
    [run], [scene], [submit] = (receiver.named(n) for n in ("run", "scene", "submit"))
    assert {span.trace_id for span in receiver.spans} == {uuid.UUID(run_id).hex}
    assert (run.parent_id, scene.parent_id, submit.parent_id) == ("", run.span_id, scene.span_id)
    assert submit.attributes == {
        "gen_ai.provider.name": "fal",
        "gen_ai.request.model": "flux",
        "gen_ai.response.id": "request-1",
        "scene_pipeline.generation.id": "a-generation",
        "scene_pipeline.project.key": "film",
        "scene_pipeline.run.id": run_id,
        "scene_pipeline.scene.id": "scene_1",
    }
    assert scene.attributes["scene_pipeline.frame.version"] == 3
    assert scene.attributes["scene_pipeline.cost.usd"] == 0.25
    assert not any(span.is_error for span in receiver.spans)
    assert receiver.resources[0]["service.name"] == "scene-pipeline"


def test_frames_money_bytes_and_seconds_are_counted(
    receiver: OtlpReceiver, settings: Settings
) -> None:
    export.start(settings)

    work_on_a_scene(str(uuid.uuid4()))
    work_on_a_scene(str(uuid.uuid4()), "scene_2")
    export.flush()

    wait_until(lambda: bool(receiver.latest("scene_pipeline.frames")))
    made_by = {"gen_ai.provider.name": "fal", "gen_ai.request.model": "flux"}
    assert receiver.latest("scene_pipeline.frames") == [
        ({"scene_pipeline.scene.status": "generated", **made_by}, 2)
    ]
    assert receiver.latest("scene_pipeline.cost") == [
        ({"scene_pipeline.cost.kind": "metered", **made_by}, 0.5)
    ]
    assert receiver.latest("scene_pipeline.storage.bytes") == [({}, 2000)]
    assert receiver.latest("scene_pipeline.generations.in_flight") == [(made_by, 0)]
    counted = {
        attributes["scene_pipeline.stage"]: count
        for attributes, count in receiver.latest("scene_pipeline.stage.duration")
    }
    assert counted == {"planning": 2, "submit": 2, "poll": 2, "upload": 2}


def test_an_error_is_told_by_its_code_alone(receiver: OtlpReceiver, settings: Settings) -> None:
    export.start(settings)

    with contextlib.suppress(BlockedError), scene_record("film", "scene_1") as record:
        record.note(status="blocked")
        with stage("submit", provider="fal"):
            raise BlockedError("A lighthouse in the words of its prompt.", code="budget_exhausted")
    export.flush()

    wait_until(lambda: len(receiver.spans) == 2 and bool(receiver.points))
    assert {span.attributes["error.type"] for span in receiver.spans} == {"budget_exhausted"}
    assert all(span.is_error for span in receiver.spans)
    assert b"lighthouse" not in b"".join(receiver.raw)
    assert receiver.latest("scene_pipeline.failures") == [({"error.type": "budget_exhausted"}, 1)]


def test_only_facts_with_a_name_are_sent(receiver: OtlpReceiver) -> None:
    export.start(receiver.settings())

    with stage("submit", provider="fal", prompt="A lighthouse", url="https://x.example/?sig=1"):
        pass
    export.flush()

    wait_until(lambda: bool(receiver.spans))
    assert receiver.spans[0].attributes == {"gen_ai.provider.name": "fal"}


@pytest.mark.parametrize("manner", ["refuses", "hangs"])
def test_a_collector_that_fails_is_waited_for_once_and_costs_one_line(
    receiver: OtlpReceiver, manner: Manner, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.manner = manner
    export.start(receiver.settings())
    began = time.monotonic()

    for _ in range(200):
        work_on_a_scene(str(uuid.uuid4()))
    worked = time.monotonic() - began
    for _ in range(6):
        export.flush()

    assert worked < 3, "nothing waits for the collector while there is work"
    assert time.monotonic() - began - worked < 3 * export.FLUSH_SECONDS
    [line] = log.getvalue().splitlines()
    assert "do not reach the collector" in line
    assert capfd.readouterr().err == ""


def test_nobody_listening_is_told_once_for_as_long_as_it_is_on(
    receiver: OtlpReceiver, log: io.StringIO
) -> None:
    for told in (1, 2):
        export.start(receiver.settings(otlp_endpoint="http://127.0.0.1:9"))

        work_on_a_scene(str(uuid.uuid4()))
        export.flush()
        export.flush()

        assert len(log.getvalue().splitlines()) == told
        export.stop()


def test_nothing_is_tried_any_more_after_the_end(receiver: OtlpReceiver) -> None:
    receiver.manner = "refuses"
    export.start(receiver.settings())
    work_on_a_scene(str(uuid.uuid4()))

    export.stop()

    wait_until(exporters_are_gone)


def test_a_proxy_of_the_environment_is_not_used(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    export.start(receiver.settings())

    work_on_a_scene(str(uuid.uuid4()))
    export.flush()

    wait_until(lambda: bool(receiver.spans))


def test_a_private_ca_is_trusted_where_the_settings_name_it(
    tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FLUSH_SECONDS", SETTLE_SECONDS)  # nobody hangs here
    with otlp_receiver(tmp_path) as receiver:
        export.start(receiver.settings(ssl_cert_file=receiver.ca_file))
        work_on_a_scene(str(uuid.uuid4()))
        export.stop()
        arrived = len(receiver.spans)
        export.start(receiver.settings())
        work_on_a_scene(str(uuid.uuid4()))
        export.stop()

    assert arrived == 6
    assert len(receiver.spans) == arrived, "without the CA nothing is sent"
    assert len(log.getvalue().splitlines()) == 1


def test_the_proxy_of_the_settings_is_used_for_a_collector_elsewhere(
    receiver: OtlpReceiver,
) -> None:
    export.start(
        receiver.settings(otlp_endpoint="http://collector.example:4318", egress_proxy=receiver.url)
    )

    work_on_a_scene(str(uuid.uuid4()))
    export.flush()

    assert receiver.requests > 0


def test_opentelemetrys_own_variables_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_receiver(tmp_path) as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(receiver.ca_file))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of-the-collector")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "our-frames")
        monkeypatch.setattr(export, "FLUSH_SECONDS", SETTLE_SECONDS)  # nobody hangs here
        export.start(receiver.settings())
        work_on_a_scene(str(uuid.uuid4()))
        export.stop()

    assert len(receiver.spans) == 6
    assert receiver.resources[0]["service.name"] == "our-frames"
    assert receiver.headers["x-key"] == "of-the-collector"
    assert receiver.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "address", ["collector:4318", "http://x:port", "http://x/?key=1", "ftp://x"]
)
def test_an_address_that_is_none_is_refused(receiver: OtlpReceiver, address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        export.start(receiver.settings(otlp_endpoint=address))

    assert caught.value.error_code == "otlp_endpoint_invalid"
