"""A run as its operators see it: the log's lines, and the trace that a collector receives."""

import io
import json
import logging
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.pipeline.making.background import BackgroundStream
from scene_pipeline.pipeline.orders import FrameOrder, SceneOutcome, SceneRef
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.telemetry import export
from scene_pipeline.telemetry.logs import set_up
from scene_pipeline.telemetry.sink import current_sink
from scene_pipeline_tests.films import Run, Studio, film
from scene_pipeline_tests.secrets_search import SecretSearch
from scene_pipeline_tests.standins.otlp_receiver import (
    OtlpReceiver,
    exporters_are_gone,
    otlp_receiver,
)
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider
from scene_pipeline_tests.waiting import wait_until

PROMPT = "A lighthouse in the fog"
STAGES = ("submit", "poll", "download", "inspect", "upload", "record", "publish", "check")


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_exporter_is_left() -> Iterator[None]:
    yield
    export.stop()
    wait_until(exporters_are_gone)


@pytest.fixture
def scripted(database_url: str, tmp_path: Path, provider: ScriptedProvider) -> Studio:
    """A film of two scenes, with an image service in this process."""
    settings = provider.settings(tmp_path / "home", log_level="info", log_format="json")
    studio = Studio(settings, database_url, {"fal": provider}, hurries=True)
    studio.bring(film([PROMPT, "A calm sea"]))
    return studio


def lines_of(studio: Studio, **order: Any) -> tuple[Run, list[dict[str, Any]]]:
    """A run, and the lines that it told."""
    written = io.StringIO()
    set_up(studio.settings, written)
    run = studio.run(**order)
    return run, [json.loads(line) for line in written.getvalue().splitlines()]


def in_background(studio: Studio, *scene_ids: str, **settings: Any) -> list[SceneOutcome]:
    """Run scenes as an op or a command does; gives how they ended."""
    order = FrameOrder(
        scenes=tuple(SceneRef("film", scene_id) for scene_id in scene_ids),
        mode="ensure",
        token="",
        run_id=str(uuid.uuid4()),
    )
    changed = studio.settings.model_copy(update=settings)
    with closing(BackgroundStream(order, changed, studio.database_url)) as stream:
        return [event for event in stream.events(1.0) if isinstance(event, SceneOutcome)]


def test_every_line_of_a_scene_names_project_scene_generation_and_run(scripted: Studio) -> None:
    run_id = str(uuid.uuid4())

    run, lines = lines_of(scripted, run_id=run_id)

    assert set(run.statuses.values()) == {"generated"}
    assert {line.get("run") for line in lines} == {run_id}
    generations = {row["scene_id"]: str(row["id"]) for row in scripted.sql("TABLE generations")}
    for scene_id, generation_id in generations.items():
        told = [line for line in lines if line.get("scene") == scene_id]
        assert {line["project"] for line in told} == {"film"}
        assert [line["stage"] for line in told if "stage" in line] == list(STAGES)
        assert {line["generation"] for line in told if line.get("stage", "check") != "check"} == {
            generation_id
        }
        [ended] = [line for line in told if line["message"] == "scene generated"]
        assert ended["version"] == 1
        assert ended["generation"] == generation_id


def test_what_a_stage_brought_stands_on_its_line(scripted: Studio) -> None:
    _, lines = lines_of(scripted)

    by_stage = {line["stage"]: line for line in lines if "stage" in line}
    [row] = scripted.sql("SELECT * FROM scene_images WHERE scene_id = 'scene_2'")
    of_scene = {
        line["stage"]: line for line in lines if "stage" in line and line.get("scene") == "scene_2"
    }
    assert of_scene["submit"]["request_id"].startswith("request-")
    assert of_scene["upload"]["key"] == row["storage_path"]
    assert of_scene["upload"]["bytes"] == row["file_size"]
    assert of_scene["download"]["bytes"] > 0
    assert by_stage["planning"]["scenes"] == 2


def test_lines_out_of_threads_name_the_scene_too(
    scripted: Studio, provider: ScriptedProvider
) -> None:
    def say_so(request: ImageRequest) -> None:
        logging.getLogger("scene_pipeline.somewhere").info("asked for %s", request.generation_id)

    provider.before_accepting = say_so

    _, lines = lines_of(scripted)

    asked = [line for line in lines if line["message"].startswith("asked for")]
    assert len(asked) == 2
    for line in asked:
        assert line["message"] == f"asked for {line['generation']}"
        assert line["scene"] in ("scene_1", "scene_2")


def test_a_failure_is_told_with_its_code(scripted: Studio, provider: ScriptedProvider) -> None:
    provider.set_fault("refused")

    run, lines = lines_of(scripted)

    assert set(run.statuses.values()) == {"failed"}
    submits = [line for line in lines if line.get("stage") == "submit"]
    assert {line["code"] for line in submits} == {"refused"}
    ends = [line for line in lines if line["message"].startswith("scene failed")]
    assert [line["code"] for line in ends] == ["refused", "refused"]
    generations = {str(row["id"]) for row in scripted.sql("TABLE generations")}
    assert {line["generation"] for line in ends} == generations


def test_the_lines_of_a_run_hold_no_secret(scripted: Studio) -> None:
    search = SecretSearch(
        {
            "the key": str(scripted.settings.fal_key),
            "the database password": str(urlsplit(scripted.database_url).password),
        }
    )

    _, lines = lines_of(scripted)

    search.text("the log", json.dumps(lines))
    assert search.found == []
    assert search.searched > 1000


def test_a_run_is_one_trace_under_its_own_id(scripted: Studio, receiver: OtlpReceiver) -> None:
    run_id = str(uuid.uuid4())
    export.start(receiver.settings())

    run = scripted.run(run_id=run_id)
    export.stop()

    assert set(run.statuses.values()) == {"generated"}
    assert {span.trace_id for span in receiver.spans} == {uuid.UUID(run_id).hex}
    names = {span.span_id: span.name for span in receiver.spans}
    below = sorted((names.get(span.parent_id, ""), span.name) for span in receiver.spans)
    assert below == sorted(
        [("", "run"), ("run", "planning"), ("run", "scene"), ("run", "scene")]
        + [("scene", stage) for stage in STAGES] * 2
    )
    assert not any(span.is_error for span in receiver.spans)


def test_the_trace_and_the_metrics_say_what_the_ledger_says(
    scripted: Studio, receiver: OtlpReceiver
) -> None:
    export.start(receiver.settings())

    scripted.run()
    export.stop()

    rows = {row["scene_id"]: row for row in scripted.sql("TABLE generations")}
    for span in receiver.named("scene"):
        row = rows[span.attributes["scene_pipeline.scene.id"]]
        assert span.attributes["gen_ai.provider.name"] == row["provider"]
        assert span.attributes["gen_ai.request.model"] == row["endpoint"]
        assert span.attributes["scene_pipeline.cost.usd"] * 1_000_000 == row["cost_micros"]
        assert span.attributes["scene_pipeline.frame.version"] == 1
    for span in receiver.named("submit"):
        row = rows[span.attributes["scene_pipeline.scene.id"]]
        assert span.attributes["gen_ai.response.id"] == row["request_id"]
        assert span.attributes["scene_pipeline.generation.id"] == str(row["id"])
    spent = sum(row["cost_micros"] for row in rows.values())
    [(_, counted)] = receiver.latest("scene_pipeline.cost")
    assert round(counted * 1_000_000) == spent > 0
    [(_, stored)] = receiver.latest("scene_pipeline.storage.bytes")
    [row] = scripted.sql("SELECT sum(file_size) AS bytes FROM scene_images")
    assert stored == row["bytes"]
    assert [value for _, value in receiver.latest("scene_pipeline.generations.in_flight")] == [0]


def test_no_prompt_and_no_address_leaves_with_the_telemetry(
    scripted: Studio, provider: ScriptedProvider, receiver: OtlpReceiver
) -> None:
    export.start(receiver.settings())

    scripted.run()
    provider.set_fault("picture_expired")
    scripted.run(mode="regenerate", token="again")
    export.stop()

    sent = b"".join(receiver.raw)
    assert len(sent) > 5000
    assert b"lighthouse" not in sent
    assert b"://" not in sent
    assert str(scripted.settings.fal_key).encode() not in sent
    failed = [span for span in receiver.named("scene") if span.is_error]
    assert len(failed) == 2
    codes = {row["error_code"] for row in scripted.sql("TABLE generations")} - {None}
    assert {span.attributes["error.type"] for span in failed} == codes
    assert {span.status_message for span in failed} == codes


def test_a_stream_turns_telemetry_on_and_sends_at_its_end(
    studio: Studio, receiver: OtlpReceiver
) -> None:
    studio.bring(film([PROMPT]))

    [outcome] = in_background(studio, "scene_1", telemetry=True, otlp_endpoint=receiver.url)

    assert outcome.status == "generated"
    assert len(receiver.named("scene")) == 1
    assert len(receiver.named("run")) == 1
    assert receiver.latest("scene_pipeline.frames")


def test_a_stream_whose_collector_is_dead_makes_its_frames(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FLUSH_SECONDS", 0.3)
    studio.bring(film([PROMPT]))

    outcomes = in_background(studio, "scene_1", telemetry=True, otlp_endpoint="http://127.0.0.1:9")

    assert [outcome.status for outcome in outcomes] == ["generated"]


def test_a_stream_without_the_extra_is_refused_before_anything_is_begun(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.bring(film([PROMPT]))
    for name in ("otel", "otlp"):
        monkeypatch.delitem(sys.modules, f"scene_pipeline.telemetry.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ConfigurationError) as caught:
        in_background(studio, "scene_1", telemetry=True)

    assert caught.value.error_code == "telemetry_not_installed"
    assert studio.sql("TABLE generations") == []
    assert current_sink() is None
